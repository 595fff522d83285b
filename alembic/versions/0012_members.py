"""The files of a tree in its own row: twenty trees of a project are nearly alike, and a row and two
keys for each of their files took more room than what is in the files."""

from alembic import op

revision = "0012"
down_revision = "0011"

UP = """
ALTER TABLE code_trees ADD COLUMN blobs bigint[] NOT NULL DEFAULT '{}';
UPDATE code_trees t SET blobs = m.blobs FROM (
    SELECT tree_id, array_agg(blob_id ORDER BY blob_id) AS blobs FROM code_members GROUP BY tree_id
) AS m WHERE m.tree_id = t.id;
DROP TABLE code_members;
CREATE VIEW code_members WITH (security_invoker = true) AS
SELECT t.id AS tree_id, m.blob_id, t.project FROM code_trees t, unnest(t.blobs) AS m (blob_id);
"""

DOWN = """
DROP VIEW code_members;
CREATE TABLE code_members (
    tree_id bigint NOT NULL REFERENCES code_trees ON DELETE CASCADE,
    blob_id bigint NOT NULL REFERENCES code_blobs,
    project text NOT NULL,
    PRIMARY KEY (tree_id, blob_id)
);
INSERT INTO code_members (tree_id, blob_id, project)
SELECT t.id, m.blob_id, t.project FROM code_trees t, unnest(t.blobs) AS m (blob_id);
CREATE INDEX code_members_blob ON code_members (blob_id);
ALTER TABLE code_members ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON code_members USING (project = current_setting('journeyman.project', true))
    WITH CHECK (project = current_setting('journeyman.project', true));
ALTER TABLE code_trees DROP COLUMN blobs;
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(UP))


def downgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(DOWN))
