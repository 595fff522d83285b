"""Who is who: Slack users with the GitLab accounts that they have proven to be theirs."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE people (
    team text NOT NULL,
    slack_user text NOT NULL,
    gitlab_id bigint NOT NULL,
    gitlab_username text NOT NULL,
    linked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (team, slack_user),
    UNIQUE (team, gitlab_id)
);

-- both keys are SHA-256: what is stored here opens nothing
CREATE TABLE link_requests (
    token text PRIMARY KEY,
    browser text UNIQUE,
    team text NOT NULL,
    slack_user text NOT NULL,
    channel text NOT NULL,
    thread_ts text,
    expires_at timestamptz NOT NULL,
    returned boolean NOT NULL DEFAULT false,
    gitlab_id bigint,
    gitlab_username text
);
CREATE INDEX link_requests_expiry ON link_requests (expires_at);
"""


def upgrade() -> None:
    op.get_bind().connection.dbapi_connection.run_async(lambda raw: raw.execute(TABLES))


def downgrade() -> None:
    op.execute("DROP TABLE link_requests, people")
