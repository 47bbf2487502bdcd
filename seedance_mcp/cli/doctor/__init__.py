"""The `doctor` command: what is set, and what is wrong."""
