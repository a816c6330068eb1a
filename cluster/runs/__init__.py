"""A run: its request, its ledger, what is read from it afterwards."""
