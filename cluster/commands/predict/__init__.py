"""`raysweep predict`: one command for every family that can be asked."""
