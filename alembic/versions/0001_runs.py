"""Runs, their logs, deliveries, messages, and the queue."""

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

from agent.adapters.queue_settings import queue_settings
from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE projects (
    id text PRIMARY KEY,
    max_runs integer NOT NULL DEFAULT 1 CHECK (max_runs > 0)
);

CREATE TABLE inbox (
    id bigserial PRIMARY KEY,
    source text NOT NULL,
    key text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    payload json NOT NULL,
    handled_at timestamptz,
    tried_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    UNIQUE (source, key)
);
CREATE INDEX inbox_unhandled ON inbox (id) WHERE handled_at IS NULL;

CREATE TABLE runs (
    id bigserial PRIMARY KEY,
    key text NOT NULL UNIQUE,
    team text NOT NULL,
    channel text NOT NULL,
    thread_ts text NOT NULL,
    message_ts text NOT NULL,
    project text NOT NULL,
    status text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    cancel boolean NOT NULL DEFAULT false,
    wake bigint NOT NULL DEFAULT 0,
    min_code integer NOT NULL DEFAULT 0,
    request json NOT NULL,
    limits json NOT NULL,
    head_seq bigint NOT NULL DEFAULT 0,
    head_hash text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
CREATE INDEX runs_thread ON runs (team, channel, thread_ts, id DESC);
CREATE INDEX runs_status ON runs (status);
CREATE INDEX runs_updated ON runs (updated_at);

CREATE TABLE events (
    run bigint NOT NULL REFERENCES runs,
    seq bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    actor text NOT NULL,
    data json NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE bodies (
    run bigint NOT NULL REFERENCES runs,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run, sha256)
);
-- the bytes come compressed
ALTER TABLE bodies ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE intents (
    run bigint NOT NULL REFERENCES runs,
    key text NOT NULL,
    kind text NOT NULL,
    data json NOT NULL,
    position bigserial NOT NULL,
    outcome_seq bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, key)
);
CREATE INDEX intents_open ON intents (run, position) WHERE outcome_seq IS NULL;

CREATE TABLE messages (
    run bigint NOT NULL REFERENCES runs,
    slot text NOT NULL,
    channel text NOT NULL,
    ts text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 0,
    fingerprint text NOT NULL DEFAULT '',
    state text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, slot)
);

CREATE FUNCTION refuse_change() RETURNS trigger AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: a log only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER bodies_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON bodies
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    _execute(TABLES)
    _execute(QueryBuilderEnvironment(queue_settings()).build_install_query())


def downgrade() -> None:
    raise NotImplementedError("There is nothing before the first revision: drop the database.")


def _execute(script: str) -> None:
    """Several statements at once, which SQLAlchemy's prepared ones cannot be."""
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(script))
