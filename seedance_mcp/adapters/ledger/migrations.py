"""Migrations: the steps that bring a ledger's schema up to date. A published step is never changed."""

import sqlite3
from collections.abc import Callable


def m001_initial(db: sqlite3.Connection) -> None:
    """Create payments, jobs and uploads."""
    db.execute("""
        CREATE TABLE payments (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            purpose TEXT NOT NULL CHECK (purpose IN ('upload', 'generation')),
            fingerprint TEXT NOT NULL,
            url TEXT NOT NULL,
            body BLOB NOT NULL,
            arguments TEXT NOT NULL,
            wallet TEXT NOT NULL,
            rail TEXT NOT NULL,
            network TEXT NOT NULL,
            pay_to TEXT NOT NULL,
            amount_micro_usdc INTEGER NOT NULL CHECK (amount_micro_usdc > 0),
            state TEXT NOT NULL CHECK (state IN ('reserved', 'signed', 'settled', 'refused')),
            hold_until INTEGER NOT NULL,
            lease_until REAL NOT NULL DEFAULT 0,
            created_at REAL NOT NULL,
            signed_at REAL,
            concluded_at REAL,
            document TEXT,
            credential_sha256 TEXT,
            receipt_network TEXT,
            receipt_transaction TEXT,
            answer BLOB,
            reason TEXT,
            chain_checked INTEGER NOT NULL DEFAULT 0
        ) STRICT""")
    db.execute("CREATE INDEX payments_by_fingerprint ON payments (fingerprint, id)")
    db.execute("CREATE INDEX payments_by_time ON payments (created_at)")
    _create_jobs(db)
    _create_uploads(db)


def _create_jobs(db: sqlite3.Connection) -> None:
    db.execute("""
        CREATE TABLE jobs (
            job_id TEXT PRIMARY KEY,
            studio TEXT NOT NULL,
            payment_id INTEGER NOT NULL UNIQUE REFERENCES payments (id),
            status TEXT NOT NULL CHECK (status IN ('pending', 'loading', 'complete', 'failed')),
            progress INTEGER NOT NULL,
            error TEXT,
            video_url TEXT,
            thumbnail_url TEXT,
            file TEXT,
            thumbnail TEXT,
            created_at REAL NOT NULL,
            ended_at REAL
        ) STRICT""")


def _create_uploads(db: sqlite3.Connection) -> None:
    db.execute("""
        CREATE TABLE uploads (
            image_url TEXT PRIMARY KEY,
            sha256 TEXT NOT NULL,
            studio TEXT NOT NULL,
            wallet TEXT NOT NULL,
            upload_id TEXT NOT NULL,
            media_type TEXT NOT NULL,
            size_bytes INTEGER NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            payment_id INTEGER NOT NULL REFERENCES payments (id),
            created_at REAL NOT NULL,
            gone INTEGER NOT NULL DEFAULT 0
        ) STRICT""")
    db.execute("CREATE INDEX uploads_by_sha256 ON uploads (sha256)")


def m002_network_fees(db: sqlite3.Connection) -> None:
    """Add the fee that the payer of a Tempo charge pays to the network."""
    db.execute("ALTER TABLE payments ADD COLUMN fee_micro_usdc INTEGER NOT NULL DEFAULT 0 CHECK (fee_micro_usdc >= 0)")


def m003_lease_owners(db: sqlite3.Connection) -> None:
    """Add the process that has a lease, so that no one waits for a dead one."""
    db.execute("ALTER TABLE payments ADD COLUMN lease_owner TEXT NOT NULL DEFAULT ''")


def m004_sights(db: sqlite3.Connection) -> None:
    """Add the picture that was at a public URL. The URL may hold a secret, so its hash is stored."""
    db.execute("""
        CREATE TABLE sights (
            url_sha256 TEXT PRIMARY KEY,
            sha256 TEXT NOT NULL,
            width INTEGER NOT NULL,
            height INTEGER NOT NULL,
            seen_at REAL NOT NULL
        ) STRICT""")


def m005_freezes(db: sqlite3.Connection) -> None:
    """Add the owner's freeze: while there is a row, nothing new is signed. An empty scope means everything."""
    db.execute("""
        CREATE TABLE freezes (
            scope TEXT PRIMARY KEY,
            reason TEXT NOT NULL,
            created_at REAL NOT NULL
        ) STRICT""")


def m006_route_contracts(db: sqlite3.Connection) -> None:
    """Add what a studio last declared for a route, for the time when its declaration cannot be read."""
    db.execute("""
        CREATE TABLE route_contracts (
            studio TEXT NOT NULL,
            model TEXT NOT NULL,
            contract TEXT NOT NULL,
            read_at REAL NOT NULL,
            PRIMARY KEY (studio, model)
        ) STRICT""")


def m007_delivery(db: sqlite3.Connection) -> None:
    """Add what delays or changes a download: all times are Unix seconds."""
    db.execute("ALTER TABLE jobs ADD COLUMN stalled_at REAL")
    db.execute("ALTER TABLE jobs ADD COLUMN url_seen_at REAL")
    db.execute("ALTER TABLE jobs ADD COLUMN expired_at REAL")
    db.execute("ALTER TABLE jobs ADD COLUMN note TEXT")


def m008_recipients(db: sqlite3.Connection) -> None:
    """Add the recipients of each studio by network, from the payments that were signed so far."""
    db.execute("""
        CREATE TABLE recipients (
            studio TEXT NOT NULL,
            network TEXT NOT NULL,
            address TEXT NOT NULL,
            created_at REAL NOT NULL,
            PRIMARY KEY (studio, network, address)
        ) STRICT""")
    db.execute("""
        INSERT INTO recipients
        SELECT substr(url, 1, instr(url, '://') + 1 + instr(substr(url, instr(url, '://') + 3), '/')), network,
               lower(pay_to), min(created_at)
        FROM payments WHERE state IN ('signed', 'settled') AND url LIKE '%://%/%' GROUP BY 1, 2, 3""")


def m009_untracked_jobs(db: sqlite3.Connection) -> None:
    """Add jobs that only the studio's list has, when that list was read, and which payments were made for them."""
    db.execute("""
        CREATE TABLE untracked_jobs (
            job_id TEXT PRIMARY KEY,
            wallet TEXT NOT NULL,
            studio TEXT NOT NULL,
            type TEXT,
            status TEXT NOT NULL,
            input TEXT,
            created_at REAL NOT NULL,
            amount_micro_usdc INTEGER NOT NULL
        ) STRICT""")
    db.execute("""
        CREATE TABLE readings (
            wallet TEXT NOT NULL,
            studio TEXT NOT NULL,
            read_at REAL NOT NULL,
            PRIMARY KEY (wallet, studio)
        ) STRICT""")
    db.execute("ALTER TABLE payments ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0")


def m010_pruned_videos(db: sqlite3.Connection) -> None:
    """Add when a saved video was deleted because of its age, in Unix seconds."""
    db.execute("ALTER TABLE jobs ADD COLUMN pruned_at REAL")


def m011_scrubbed_tickets(db: sqlite3.Connection) -> None:
    """Add whether the token of an upload's ticket was taken out of the answer."""
    db.execute("ALTER TABLE payments ADD COLUMN scrubbed INTEGER NOT NULL DEFAULT 0")


def m012_verified_receipts(db: sqlite3.Connection) -> None:
    """Add whether the chain has confirmed a receipt's transaction; null if it was not asked or does not tell."""
    db.execute("ALTER TABLE payments ADD COLUMN verified INTEGER")


def m013_interruptions(db: sqlite3.Connection) -> None:
    """Add how often a process died with the lease of a payment, so that an answer may have been lost with it."""
    db.execute("ALTER TABLE payments ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0")


def m014_untracked_payments(db: sqlite3.Connection) -> None:
    """Add payments that only a chain has, and when each chain was read."""
    db.execute("""
        CREATE TABLE untracked_payments (
            transaction_hash TEXT PRIMARY KEY,
            wallet TEXT NOT NULL,
            network TEXT NOT NULL,
            pay_to TEXT NOT NULL,
            amount_micro_usdc INTEGER NOT NULL,
            created_at REAL NOT NULL
        ) STRICT""")
    db.execute("""
        CREATE TABLE chain_readings (
            wallet TEXT NOT NULL,
            network TEXT NOT NULL,
            pay_to TEXT NOT NULL,
            read_at REAL NOT NULL,
            PRIMARY KEY (wallet, network, pay_to)
        ) STRICT""")


_COUNTED = """(CASE WHEN {row}.state IN ('settled', 'signed', 'refused')
    THEN {row}.fee_micro_usdc + {row}.amount_micro_usdc * ({row}.state <> 'refused' OR NOT {row}.chain_checked)
    ELSE 0 END)"""
"""What a row adds to the total: all but reservations, which lapse by themselves."""


def m015_running_total(db: sqlite3.Connection) -> None:
    """Add the total cost of all payments, kept by triggers, so that no reservation sums every row."""
    old, new = _COUNTED.format(row="old"), _COUNTED.format(row="new")
    db.execute("CREATE TABLE totals (spent_micro_usdc INTEGER NOT NULL) STRICT")
    db.execute(f"INSERT INTO totals SELECT coalesce(sum({_COUNTED.format(row='payments')}), 0) FROM payments")  # noqa: S608 - our own words
    db.execute(f"""
        CREATE TRIGGER totals_insert AFTER INSERT ON payments WHEN {new} <> 0
        BEGIN UPDATE totals SET spent_micro_usdc = spent_micro_usdc + {new}; END""")  # noqa: S608 - our own words
    db.execute(f"""
        CREATE TRIGGER totals_update AFTER UPDATE ON payments WHEN {new} <> {old}
        BEGIN UPDATE totals SET spent_micro_usdc = spent_micro_usdc + {new} - {old}; END""")  # noqa: S608 - our own words
    db.execute(f"""
        CREATE TRIGGER totals_delete AFTER DELETE ON payments WHEN {old} <> 0
        BEGIN UPDATE totals SET spent_micro_usdc = spent_micro_usdc - {old}; END""")  # noqa: S608 - our own words
    db.execute("CREATE INDEX payments_reserved ON payments (hold_until) WHERE state = 'reserved'")


def m016_callers(db: sqlite3.Connection) -> None:
    """Add whom a payment belongs to, and the total under the name that it has in a database of several callers."""
    db.execute("ALTER TABLE payments ADD COLUMN caller TEXT NOT NULL DEFAULT ''")
    db.execute("CREATE VIEW budgets AS SELECT '' AS scope, spent_micro_usdc FROM totals")


def m017_objects(db: sqlite3.Connection) -> None:
    """Add where an object store has a video and its thumbnail; a ledger in a file has neither."""
    db.execute("ALTER TABLE jobs ADD COLUMN video_key TEXT")
    db.execute("ALTER TABLE jobs ADD COLUMN thumbnail_key TEXT")


_ADD_TO_HOUR = """INSERT INTO spent_hours VALUES ('', CAST({row}.created_at AS INTEGER) / 3600, {amount})
    ON CONFLICT (scope, hour) DO UPDATE SET spent_micro_usdc = spent_micro_usdc + excluded.spent_micro_usdc"""


def m018_spent_hours(db: sqlite3.Connection) -> None:
    """Add the cost of the payments of each hour, kept by triggers, so that no sum of a week or a month reads them."""
    old, new = _COUNTED.format(row="old"), _COUNTED.format(row="new")
    add, take = _ADD_TO_HOUR.format(row="new", amount=new), _ADD_TO_HOUR.format(row="old", amount=f"-{old}")
    db.execute("""
        CREATE TABLE spent_hours (
            scope TEXT NOT NULL,
            hour INTEGER NOT NULL,
            spent_micro_usdc INTEGER NOT NULL,
            PRIMARY KEY (scope, hour)
        ) STRICT, WITHOUT ROWID""")
    db.execute(f"""
        INSERT INTO spent_hours SELECT '', CAST(created_at AS INTEGER) / 3600, sum({_COUNTED.format(row="payments")})
        FROM payments GROUP BY 2""")  # noqa: S608 - our own words
    db.execute(f"CREATE TRIGGER hours_insert AFTER INSERT ON payments WHEN {new} <> 0 BEGIN {add}; END")
    db.execute(f"""
        CREATE TRIGGER hours_update AFTER UPDATE ON payments WHEN {new} <> {old} OR new.created_at <> old.created_at
        BEGIN {take}; {add}; END""")
    db.execute(f"CREATE TRIGGER hours_delete AFTER DELETE ON payments WHEN {old} <> 0 BEGIN {take}; END")


def m019_films(db: sqlite3.Connection) -> None:
    """Add films, and the sums that they reserve and that their payments draw from."""
    db.execute("""
        CREATE TABLE reservations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            caller TEXT NOT NULL DEFAULT '',
            reason TEXT NOT NULL,
            amount_micro_usdc INTEGER NOT NULL CHECK (amount_micro_usdc > 0),
            created_at REAL NOT NULL,
            until REAL NOT NULL,
            closed_at REAL
        ) STRICT""")
    db.execute("CREATE INDEX reservations_open ON reservations (until) WHERE closed_at IS NULL")
    db.execute("ALTER TABLE payments ADD COLUMN reservation_id INTEGER REFERENCES reservations (id)")
    db.execute("CREATE INDEX payments_by_reservation ON payments (reservation_id) WHERE reservation_id IS NOT NULL")
    db.execute("""
        CREATE TABLE films (
            film_id TEXT PRIMARY KEY,
            caller TEXT NOT NULL DEFAULT '',
            studio TEXT NOT NULL,
            wallet TEXT NOT NULL,
            definition TEXT NOT NULL,
            shots TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'stopped', 'cancelled')),
            problem TEXT,
            reservation_id INTEGER,
            created_at REAL NOT NULL,
            ended_at REAL,
            lease_owner TEXT NOT NULL DEFAULT '',
            lease_until REAL NOT NULL DEFAULT 0,
            file TEXT,
            video_key TEXT,
            note TEXT
        ) STRICT""")
    db.execute("CREATE INDEX films_by_time ON films (created_at)")
    db.execute("CREATE INDEX films_running ON films (created_at) WHERE state = 'running'")


def m020_pruned_films(db: sqlite3.Connection) -> None:
    """Add when a joined film was deleted because of its age."""
    db.execute("ALTER TABLE films ADD COLUMN pruned_at REAL")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_initial,
    m002_network_fees,
    m003_lease_owners,
    m004_sights,
    m005_freezes,
    m006_route_contracts,
    m007_delivery,
    m008_recipients,
    m009_untracked_jobs,
    m010_pruned_videos,
    m011_scrubbed_tickets,
    m012_verified_receipts,
    m013_interruptions,
    m014_untracked_payments,
    m015_running_total,
    m016_callers,
    m017_objects,
    m018_spent_hours,
    m019_films,
    m020_pruned_films,
)
"""Append only: `PRAGMA user_version` counts how many a file has had."""
