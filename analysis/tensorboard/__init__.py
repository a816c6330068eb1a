"""TensorBoard files: curves, HParams, pictures, the projector."""
