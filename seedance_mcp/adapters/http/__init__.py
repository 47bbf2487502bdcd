"""HTTP: connections, bounded bodies, and fetches from addresses that callers name."""
