"""Other people's searchers, which run in .venv-rivals."""
