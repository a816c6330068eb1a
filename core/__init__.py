"""What everything else stands on: errors, files, locks, configurations. Imports nothing of ours."""
