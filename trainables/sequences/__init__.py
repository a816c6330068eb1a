"""What comes next: character and word models, and word vectors."""
