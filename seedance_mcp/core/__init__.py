"""Core: errors, money, limits, records and wire formats as pure code. Must not do I/O or read the clock."""
