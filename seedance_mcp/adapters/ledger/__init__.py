"""The ledger: in a SQLite file, or in a PostgreSQL database for several replicas. Its protocol is `core.ledger`."""
