"""Runs the revisions on the connection that `agent.adapters.migration` opened, then grants."""

from sqlalchemy import text

from alembic import context

#: What the service may do. It owns nothing; the log and its bodies can only grow.
GRANTS = """
GRANT USAGE ON SCHEMA public, engine TO {role};
GRANT SELECT ON alembic_version, installation TO {role};
GRANT SELECT, INSERT ON events, bodies TO {role};
GRANT SELECT, INSERT, UPDATE ON inbox, runs, intents, messages, projects TO {role};
GRANT DELETE ON inbox TO {role};
GRANT SELECT, UPDATE ON fleet TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON leases TO {role};
GRANT SELECT, INSERT, DELETE ON freezes TO {role};
GRANT SELECT, INSERT, UPDATE ON schedules, nights, findings, digests, snoozes TO {role};
GRANT SELECT, INSERT ON operator_events TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON people, link_requests TO {role};
GRANT SELECT, INSERT, DELETE ON code_blobs, code_trees, code_changes TO {role};
GRANT SELECT ON code_chunks, code_members TO {role};
GRANT UPDATE ON code_trees, code_changes TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON code_merges_read, code_pushes TO {role};
GRANT SELECT, INSERT, UPDATE ON embedding_models, code_generations TO {role};
GRANT SELECT, INSERT ON chunk_embeddings TO {role};
GRANT EXECUTE ON FUNCTION forget_embeddings(text, interval) TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA engine TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public, engine TO {role};
"""


def main() -> None:
    connection = context.config.attributes["connection"]
    role = connection.dialect.identifier_preparer.quote(context.config.attributes["app_role"])
    context.configure(connection=connection, version_table_schema="public")
    context.run_migrations()
    if context.get_context().get_current_revision() != context.get_head_revision():
        return  # on the way down, where nobody serves
    for statement in filter(str.strip, GRANTS.format(role=role).split(";")):
        connection.execute(text(statement))


main()
