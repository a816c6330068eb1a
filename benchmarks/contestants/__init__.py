"""The contestants: one file each, each a program that does one search and prints its result."""
