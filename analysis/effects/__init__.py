"""What each hyperparameter did to the metric, with intervals."""
