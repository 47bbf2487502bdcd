-- Webhooks: where a caller is told that a job is over, and the messages. Additions only: earlier programs go on.

-- The secret is sealed with a state key. No reference to `callers`: a reference takes locks.
CREATE TABLE webhooks (
    caller TEXT PRIMARY KEY,
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
CREATE INDEX webhook_messages_by_time ON webhook_messages (created_at);

CREATE FUNCTION is_job_over(job jobs) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT job.status = 'failed' OR (job.status = 'complete' AND (job.file IS NOT NULL OR job.video_key IS NOT NULL))
$$;

-- A job's end and its message are one transaction, whichever server writes it (channel `seedance_webhooks`). What goes
-- wrong here must not touch the job: it waits for a lock for a moment at most, and any error is left out. A message
-- that is missing then is written within the hour (`adapters/ledger/webhooks.py`).
CREATE FUNCTION write_webhook_message() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
    moment DOUBLE PRECISION := extract(epoch FROM clock_timestamp());
BEGIN
    BEGIN
        INSERT INTO webhook_messages (caller, job_id, event, created_at, due_at)
            SELECT NEW.caller, NEW.job_id, CASE WHEN NEW.status = 'failed' THEN 'job.failed' ELSE 'job.completed' END,
                   moment, moment
            FROM webhooks WHERE webhooks.caller = NEW.caller
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            PERFORM pg_notify('seedance_webhooks', NEW.job_id);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'No webhook message for job %: %', NEW.job_id, SQLERRM;
    END;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_insert_webhook AFTER INSERT ON jobs FOR EACH ROW WHEN (is_job_over(NEW))
    EXECUTE FUNCTION write_webhook_message();
CREATE TRIGGER jobs_update_webhook AFTER UPDATE ON jobs FOR EACH ROW
    WHEN (is_job_over(NEW) AND (NOT is_job_over(OLD) OR OLD.status <> NEW.status))
    EXECUTE FUNCTION write_webhook_message();
