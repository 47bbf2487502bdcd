"""The ledger on disk: SQLite. Its protocol is `core.ledger`."""
