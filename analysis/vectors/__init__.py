"""What learned vectors mean: factors, relations, pictures."""
