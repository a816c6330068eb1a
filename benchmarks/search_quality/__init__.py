"""How good a search is for its epochs, on learning curves that were recorded: nothing trains."""
