"""What a search costs besides training: starting, trials, memory."""
