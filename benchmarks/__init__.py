"""Side-by-side timings against what a user would do otherwise."""
