"""The searchers that are compared."""
