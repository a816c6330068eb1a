"""The commands, by subject: search, ask, data, doctor."""
