"""What channels were told in the morning, and of which projects they do not want to hear."""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = """
CREATE TABLE digests (
    channel text NOT NULL,
    name text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'intended',
    ts text NOT NULL DEFAULT '',
    owner text NOT NULL,
    leased_until timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    PRIMARY KEY (channel, name)
);

CREATE TABLE snoozes (
    channel text NOT NULL,
    project text NOT NULL,
    until timestamptz NOT NULL,
    by text NOT NULL,
    PRIMARY KEY (channel, project)
);
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(TABLES))


def downgrade() -> None:
    op.execute("DROP TABLE snoozes, digests")
