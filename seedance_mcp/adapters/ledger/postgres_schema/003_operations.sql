-- Closing the ledger after a restore. Additions only: a server of version 1 goes on with this schema.

-- One row. `identity` names the database whose payments the ledger has, as it was noted last; null before that.
-- While `closed_at` is set, or another database answers, no payment is reserved or signed: it may have been made.
CREATE TABLE ledger_state (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    identity TEXT,
    closings BIGINT NOT NULL DEFAULT 0,
    closed_at DOUBLE PRECISION,
    reason TEXT,
    read_from DOUBLE PRECISION
);

-- The server's own number, its timeline, the database's number and that of its table: a restore changes one of them,
-- and so does a standby that takes over. A part that a provider hides is a dash.
CREATE FUNCTION database_identity() RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
DECLARE
    server TEXT := '-';
    timeline TEXT := '-';
BEGIN
    BEGIN
        server := (SELECT system_identifier FROM pg_control_system());
    EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
        NULL;
    END;
    BEGIN
        timeline := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
    EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function
            OR object_not_in_prerequisite_state THEN
        NULL;
    END;
    RETURN concat_ws('/', server, timeline, (SELECT oid FROM pg_database WHERE datname = current_database()),
                     CAST(to_regclass('payments') AS oid));
END $$;

INSERT INTO ledger_state (identity) VALUES (database_identity());

CREATE FUNCTION check_ledger_is_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM ledger_state WHERE closed_at IS NOT NULL OR identity <> database_identity()) THEN
        RAISE EXCEPTION 'The ledger is closed until it was read against the studio and the chains' USING ERRCODE = 'SD001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payments_reserve_open BEFORE INSERT ON payments FOR EACH ROW WHEN (NEW.state = 'reserved')
    EXECUTE FUNCTION check_ledger_is_open();
CREATE TRIGGER payments_sign_open BEFORE UPDATE OF state ON payments FOR EACH ROW
    WHEN (OLD.state = 'reserved' AND NEW.state = 'signed') EXECUTE FUNCTION check_ledger_is_open();
