"""The code of projects as it is searched: every row is one project's, and only its own is seen."""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE code_blobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    path text NOT NULL,
    blob text NOT NULL,
    version integer NOT NULL,
    kind text NOT NULL,
    language text NOT NULL,
    lines integer NOT NULL,
    UNIQUE (project, path, blob, version)
);

CREATE TABLE code_chunks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    blob_id bigint NOT NULL REFERENCES code_blobs ON DELETE CASCADE,
    project text NOT NULL,
    start_line integer NOT NULL,
    end_line integer NOT NULL,
    symbols text[] NOT NULL,
    context text NOT NULL,
    content text NOT NULL,
    lex sparsevec(1048576) NOT NULL
);
CREATE INDEX code_chunks_blob ON code_chunks (blob_id);

CREATE TABLE code_trees (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    commit text NOT NULL,
    version integer NOT NULL,
    files integer NOT NULL,
    lines bigint NOT NULL,
    chunks bigint NOT NULL,
    frequencies bytea NOT NULL,
    built_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project, commit, version)
);

CREATE TABLE code_members (
    tree_id bigint NOT NULL REFERENCES code_trees ON DELETE CASCADE,
    blob_id bigint NOT NULL REFERENCES code_blobs,
    project text NOT NULL,
    PRIMARY KEY (tree_id, blob_id)
);
CREATE INDEX code_members_blob ON code_members (blob_id);

CREATE TABLE code_changes (
    project text NOT NULL,
    id text NOT NULL,
    at timestamptz NOT NULL,
    title text NOT NULL,
    paths text[] NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX code_changes_at ON code_changes (project, at DESC);
"""

NAMES = ("code_blobs", "code_chunks", "code_trees", "code_members", "code_changes")
#: Without the setting nothing is seen: NULL is equal to nothing.
OWN = "project = current_setting('journeyman.project', true)"


def upgrade() -> None:
    statements = TABLES + "".join(
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY own ON {name} USING ({OWN}) WITH CHECK ({OWN});"
        for name in NAMES
    )
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(statements))


def downgrade() -> None:
    op.execute(f"DROP TABLE {', '.join(reversed(NAMES))}")
