-- The scripts that a database has had. `ledger_versions` says from which version on programs work with it.
CREATE TABLE ledger_scripts (
    number INTEGER PRIMARY KEY,
    migrated_at TIMESTAMPTZ NOT NULL
);
