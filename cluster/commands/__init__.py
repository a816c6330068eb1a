"""The commands, by subject; each parses, calls and prints."""
