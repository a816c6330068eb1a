"""The commands, by subject: search, features, ask, data, doctor."""
