"""Ratings of items by users: MovieLens and tables of your own."""
