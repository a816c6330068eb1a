"""Recommenders: matrix factorisation and a neural network."""
