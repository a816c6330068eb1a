"""Models of the user's: a learner on tensors, and whatever Ray Tune runs."""
