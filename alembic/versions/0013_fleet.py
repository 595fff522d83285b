"""Limits that a person sets while workers run, whose turn it is, who does alone what only one may,
and the oldest schema whose code may work with this one."""

from alembic import op

revision = "0013"
down_revision = "0012"

UP = """
-- max_runs: a person's word over the workers' own; turn: that of the newest run that was begun
CREATE TABLE fleet (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    max_runs integer CHECK (max_runs > 0),
    turn bigint NOT NULL DEFAULT 0
);
INSERT INTO fleet DEFAULT VALUES;

-- a person's word over the file's
ALTER TABLE projects ADD told_max integer CHECK (told_max > 0);

-- when the run is due among the runs of all channels
ALTER TABLE runs ADD turn bigint NOT NULL DEFAULT 0;
CREATE INDEX runs_queued ON runs (team, channel, turn) WHERE status = 'queued';

CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
);

ALTER TABLE installation ADD works_from text NOT NULL DEFAULT '0013';
"""

DOWN = """
ALTER TABLE installation DROP COLUMN works_from;
DROP TABLE leases, fleet;
DROP INDEX runs_queued;
ALTER TABLE runs DROP COLUMN turn;
ALTER TABLE projects DROP COLUMN told_max;
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(UP))


def downgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(DOWN))
