"""Tests on three real hosts."""
