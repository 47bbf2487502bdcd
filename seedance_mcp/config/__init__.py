"""Configuration: the owner's settings and the profiles."""
