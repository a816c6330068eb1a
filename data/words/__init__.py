"""Vectors of words: every file format, and their geometry."""
