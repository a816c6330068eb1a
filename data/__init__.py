"""Where examples come from: one file a dataset, and the files that fetch and store them."""
