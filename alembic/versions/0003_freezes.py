"""What is frozen, and what operators did."""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
-- scope: path of a project, or empty for all of them
CREATE TABLE freezes (
    scope text PRIMARY KEY,
    by json NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE operator_events (
    id bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deed text NOT NULL,
    scope text NOT NULL,
    by json NOT NULL,
    reason text NOT NULL,
    refused text NOT NULL
);
CREATE TRIGGER operator_events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- whether the run's log says that a freeze holds it
ALTER TABLE runs ADD COLUMN frozen boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(TABLES))


def downgrade() -> None:
    op.execute("ALTER TABLE runs DROP COLUMN frozen")
    op.execute("DROP TABLE operator_events, freezes")
