"""The chunks of a file in one row, where they are compressed together; a view shows each."""

from alembic import op

revision = "0011"
down_revision = "0010"

UP = r"""
-- Nobody asks for what a version before the third stored: it is indexed again.
DELETE FROM code_trees WHERE version < 3;
DELETE FROM code_blobs WHERE version < 3;
ALTER TABLE code_blobs
    ADD COLUMN spans integer[] NOT NULL DEFAULT '{}', -- first and last line of each chunk
    ADD COLUMN symbols text[] NOT NULL DEFAULT '{}', -- of each chunk, a line each
    ADD COLUMN contexts text[] NOT NULL DEFAULT '{}',
    ADD COLUMN contents text[] NOT NULL DEFAULT '{}',
    ADD COLUMN lex sparsevec(1048576)[] NOT NULL DEFAULT '{}',
    ADD COLUMN digests bytea; -- 20 bytes of each chunk
ALTER TABLE code_blobs SET (toast_tuple_target = 1024); -- less room is left over in pages
UPDATE code_blobs b SET spans = c.spans, symbols = c.symbols, contexts = c.contexts,
    contents = c.contents, lex = c.lex, digests = c.digests
FROM (
    SELECT blob_id,
        string_to_array(string_agg(start_line || ',' || end_line, ',' ORDER BY id), ',')::integer[]
            AS spans,
        array_agg(array_to_string(symbols, E'\n') ORDER BY id) AS symbols,
        array_agg(context ORDER BY id) AS contexts,
        array_agg(content ORDER BY id) AS contents,
        array_agg(lex ORDER BY id) AS lex,
        CASE WHEN bool_and(content_sha IS NOT NULL)
            THEN string_agg(content_sha, ''::bytea ORDER BY id) END AS digests
    FROM code_chunks GROUP BY blob_id
) AS c WHERE c.blob_id = b.id;
DROP TABLE code_chunks;
CREATE VIEW code_chunks WITH (security_invoker = true) AS
SELECT (b.id << 20) | (c.n - 1) AS id, b.id AS blob_id, b.project,
    b.spans[2 * c.n::integer - 1] AS start_line, b.spans[2 * c.n::integer] AS end_line,
    string_to_array(c.symbols, E'\n') AS symbols, c.context, b.contents[c.n::integer] AS content,
    b.lex[c.n::integer] AS lex, substr(b.digests, 20 * c.n::integer - 19, 20) AS content_sha
FROM code_blobs b, unnest(b.symbols, b.contexts) WITH ORDINALITY AS c (symbols, context, n);
DROP INDEX code_changes_at;
"""

DOWN = """
CREATE INDEX code_changes_at ON code_changes (project, at DESC);
ALTER VIEW code_chunks RENAME TO code_chunks_seen;
CREATE TABLE code_chunks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    blob_id bigint NOT NULL REFERENCES code_blobs ON DELETE CASCADE,
    project text NOT NULL,
    start_line integer NOT NULL,
    end_line integer NOT NULL,
    symbols text[] NOT NULL,
    context text NOT NULL,
    content text NOT NULL,
    lex sparsevec(1048576) NOT NULL,
    content_sha bytea
);
INSERT INTO code_chunks (
    blob_id, project, start_line, end_line, symbols, context, content, lex, content_sha)
SELECT blob_id, project, start_line, end_line, symbols, context, content, lex, content_sha
FROM code_chunks_seen ORDER BY id;
CREATE INDEX code_chunks_blob ON code_chunks (blob_id);
ALTER TABLE code_chunks ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON code_chunks USING (project = current_setting('journeyman.project', true))
    WITH CHECK (project = current_setting('journeyman.project', true));
DROP VIEW code_chunks_seen;
ALTER TABLE code_blobs RESET (toast_tuple_target);
ALTER TABLE code_blobs DROP COLUMN spans, DROP COLUMN symbols, DROP COLUMN contexts,
    DROP COLUMN contents, DROP COLUMN lex, DROP COLUMN digests;
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(UP))


def downgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(DOWN))
