"""`raysweep check`: proves on a model of the user's what raysweep promises for it, without Ray."""
