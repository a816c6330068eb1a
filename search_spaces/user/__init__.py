"""Spaces of the user's: ranges on the command line, Ray Tune's domains, functions."""
