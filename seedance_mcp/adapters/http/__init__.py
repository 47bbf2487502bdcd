"""HTTP: connections, bounded bodies, and requests to URLs from callers."""
