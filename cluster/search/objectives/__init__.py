"""Searches with several objectives or constraints: what is proposed, and what is passed over."""
