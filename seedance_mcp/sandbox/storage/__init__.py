"""The sandbox's blob store and what it serves."""
