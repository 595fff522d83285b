"""Merge requests among past changes, and the commits that pushes brought and no index has yet."""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
ALTER TABLE code_changes
    ADD COLUMN commits text[] NOT NULL DEFAULT '{}', -- that a merge request came by
    ADD COLUMN updated_at timestamptz;

CREATE TABLE code_merges_read (
    project text PRIMARY KEY,
    until timestamptz NOT NULL
);
ALTER TABLE code_merges_read ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON code_merges_read
    USING (project = current_setting('journeyman.project', true))
    WITH CHECK (project = current_setting('journeyman.project', true));

CREATE TABLE code_pushes (
    project text PRIMARY KEY,
    commit text NOT NULL,
    free_at timestamptz NOT NULL DEFAULT now(), -- whoever is at it holds it until then
    attempts integer NOT NULL DEFAULT 0
);
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(TABLES))


def downgrade() -> None:
    op.execute("DROP TABLE code_pushes, code_merges_read")
    op.execute("DELETE FROM code_changes WHERE id LIKE '!%'")
    op.execute("ALTER TABLE code_changes DROP COLUMN commits, DROP COLUMN updated_at")
