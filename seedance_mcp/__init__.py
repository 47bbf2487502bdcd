"""seedance-mcp: still image in, finished video out, paid for exactly once."""

__version__ = "0.1.0"
