"""A search: what is tried, what goes on, what is written down; Ray Tune and Ray Train."""
