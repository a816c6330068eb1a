"""Code of a user's in raysweep: killed at random moments, and its trials beside bare Ray Tune's."""
