"""What all other packages build on: errors, files, locks, configurations."""
