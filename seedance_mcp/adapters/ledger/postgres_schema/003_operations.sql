-- Closing the ledger after a restore, and webhooks. Additions only: a server of version 1 goes on with this schema.

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

-- Where a caller hears of its jobs. The secret is sealed with a state key.
CREATE TABLE webhooks (
    caller TEXT PRIMARY KEY REFERENCES callers (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    sealed_secret TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE webhook_messages (
    id TEXT PRIMARY KEY DEFAULT 'msg_' || replace(CAST(gen_random_uuid() AS TEXT), '-', ''),
    caller TEXT NOT NULL,
    job_id TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('job.completed', 'job.failed')),
    created_at DOUBLE PRECISION NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at DOUBLE PRECISION NOT NULL,
    claim_owner TEXT NOT NULL DEFAULT '',
    claim_until DOUBLE PRECISION NOT NULL DEFAULT 0,
    ended_at DOUBLE PRECISION,
    outcome TEXT CHECK (outcome IN ('delivered', 'given_up')),
    problem TEXT,
    UNIQUE (job_id, event)
);
CREATE INDEX webhook_messages_due ON webhook_messages (due_at) WHERE ended_at IS NULL;
CREATE INDEX webhook_messages_by_caller ON webhook_messages (caller) WHERE ended_at IS NULL;
CREATE INDEX webhook_messages_ended ON webhook_messages (ended_at) WHERE ended_at IS NOT NULL;

CREATE FUNCTION is_job_over(job jobs) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT job.status = 'failed' OR (job.status = 'complete' AND (job.file IS NOT NULL OR job.video_key IS NOT NULL))
$$;

-- A job's end and its message are one transaction, whichever server writes it.
CREATE FUNCTION write_webhook_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment DOUBLE PRECISION := extract(epoch FROM clock_timestamp());
BEGIN
    INSERT INTO webhook_messages (caller, job_id, event, created_at, due_at)
        SELECT NEW.caller, NEW.job_id, CASE WHEN NEW.status = 'failed' THEN 'job.failed' ELSE 'job.completed' END,
               moment, moment
        FROM webhooks WHERE webhooks.caller = NEW.caller
        ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM pg_notify('seedance_webhooks', NEW.job_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_insert_webhook AFTER INSERT ON jobs FOR EACH ROW WHEN (is_job_over(NEW))
    EXECUTE FUNCTION write_webhook_message();
CREATE TRIGGER jobs_update_webhook AFTER UPDATE ON jobs FOR EACH ROW
    WHEN (is_job_over(NEW) AND (NOT is_job_over(OLD) OR OLD.status <> NEW.status))
    EXECUTE FUNCTION write_webhook_message();
