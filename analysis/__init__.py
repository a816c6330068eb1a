"""What was found: effects of hyperparameters, reports, vectors, TensorBoard files."""
