"""The server is killed at a named point; the ledger must still be right."""
