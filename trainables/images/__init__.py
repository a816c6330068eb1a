"""Heads on features of images, and batch normalisation in trained networks."""
