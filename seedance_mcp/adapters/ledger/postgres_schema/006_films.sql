-- Films, and the payments that draw from their sums. Additions only: earlier programs go on.

CREATE TABLE films (
    film_id TEXT PRIMARY KEY,
    caller TEXT NOT NULL DEFAULT '',
    studio TEXT NOT NULL,
    wallet TEXT NOT NULL,
    definition TEXT NOT NULL,
    shots TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'stopped', 'cancelled')),
    problem TEXT,
    reservation_id BIGINT,
    created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    lease_owner TEXT NOT NULL DEFAULT '',
    lease_until DOUBLE PRECISION NOT NULL DEFAULT 0,
    file TEXT,
    video_key TEXT,
    note TEXT
);
CREATE INDEX films_by_time ON films (created_at);
CREATE INDEX films_running ON films (created_at) WHERE state = 'running';
CREATE INDEX payments_by_reservation ON payments (reservation_id) WHERE reservation_id IS NOT NULL;
CREATE INDEX reservations_open ON reservations (until) WHERE closed_at IS NULL;
