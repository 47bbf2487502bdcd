"""The server dies at a named point; the ledger must still be right."""
