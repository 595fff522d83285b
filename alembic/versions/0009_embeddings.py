"""Embeddings of code, by content: projects with the same text share a row, which tells nothing
to whoever lacks that text."""

from alembic import op

revision = "0009"
down_revision = "0008"

TABLES = """
ALTER TABLE code_chunks ADD COLUMN content_sha bytea;

CREATE TABLE embedding_models (
    model text PRIMARY KEY,
    dimensions integer NOT NULL,
    tokens bigint NOT NULL DEFAULT 0,
    money double precision NOT NULL DEFAULT 0,
    wanted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE chunk_embeddings (
    content_sha bytea NOT NULL,
    model text NOT NULL REFERENCES embedding_models,
    v halfvec NOT NULL,
    PRIMARY KEY (content_sha, model)
);
ALTER TABLE chunk_embeddings ALTER v SET STORAGE MAIN; -- beside its row, up to 4,000 dimensions

CREATE TABLE code_generations (
    project text PRIMARY KEY,
    model text NOT NULL,
    switched_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE code_generations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON code_generations
    USING (project = current_setting('journeyman.project', true))
    WITH CHECK (project = current_setting('journeyman.project', true));

-- As the owner, since what other projects still use is seen by nobody else.
CREATE FUNCTION forget_embeddings(active text, idle interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM code_generations g
    WHERE NOT EXISTS (SELECT FROM code_trees t WHERE t.project = g.project);
    WITH gone AS (
        DELETE FROM chunk_embeddings e
        WHERE NOT EXISTS (SELECT FROM code_chunks c WHERE c.content_sha = e.content_sha)
        OR e.model IN (
            SELECT m.model FROM embedding_models m
            WHERE m.model <> active AND m.wanted_at <= now() - idle
            AND NOT EXISTS (SELECT FROM code_generations g WHERE g.model = m.model))
        RETURNING 1
    )
    SELECT count(*) FROM gone;
$$;
REVOKE ALL ON FUNCTION forget_embeddings(text, interval) FROM PUBLIC;
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(TABLES))


def downgrade() -> None:
    op.execute("DROP FUNCTION forget_embeddings(text, interval)")
    op.execute("DROP TABLE code_generations, chunk_embeddings, embedding_models")
    op.execute("ALTER TABLE code_chunks DROP COLUMN content_sha")
