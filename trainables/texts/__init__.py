"""Classifiers of texts: dense, convolution and LSTM."""
