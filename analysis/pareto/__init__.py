"""Several objectives: what dominates what, and how much of what can be had a front covers."""
