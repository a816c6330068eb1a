"""Machines: connecting to Ray, what fits where, what every node is asked first."""
