"""Nights of maintenance: when they come, who works on them, and what they found."""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE schedules (
    project text NOT NULL,
    task text NOT NULL,
    cron text NOT NULL,
    zone text NOT NULL,
    next_fire timestamptz NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    PRIMARY KEY (project, task)
);

CREATE TABLE nights (
    id bigserial PRIMARY KEY,
    project text NOT NULL,
    task text NOT NULL,
    fire_at timestamptz NOT NULL,
    owner text,
    leased_until timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    ended_at timestamptz,
    status text NOT NULL DEFAULT '',
    report json,
    UNIQUE (project, task, fire_at)
);
CREATE INDEX nights_open ON nights (id) WHERE ended_at IS NULL;
CREATE INDEX nights_fired ON nights (fire_at);

-- of the last night of each project
CREATE TABLE findings (
    project text PRIMARY KEY,
    data json NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(TABLES))


def downgrade() -> None:
    op.execute("DROP TABLE findings, nights, schedules")
