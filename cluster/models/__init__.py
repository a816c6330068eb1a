"""Questions to trained models, and their uses outside of a search."""
