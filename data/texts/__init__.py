"""Texts: reviews, texts of your own, vocabularies, characters, n-grams."""
