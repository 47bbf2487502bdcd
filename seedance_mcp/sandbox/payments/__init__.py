"""The sandbox's paywall and its two payment rails."""
