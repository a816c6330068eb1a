"""A package, so that tests/cluster is not taken for the package cluster."""
