"""`raysweep predict`: one command for every family of models that predicts."""
