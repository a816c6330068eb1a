"""What was found: pictures of a search, factors explained, TensorBoard files."""
