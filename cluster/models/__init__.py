"""Uses of trained models: predict, classify, recommend, generate, ensemble, export."""
