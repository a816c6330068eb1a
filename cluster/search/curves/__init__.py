"""The searcher that reads learning curves; its decisions need no Ray."""
