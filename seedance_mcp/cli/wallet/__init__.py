"""The `wallet` commands."""
