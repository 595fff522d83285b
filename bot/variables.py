"""The environment variables that there are. Reading them is for `bot.settings` alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Variable:
    """An environment variable, its field of `Settings`, and a line for .env.example."""

    name: str
    field: str
    about: str


VARIABLES = (
    Variable(name="SLACK_BOT_TOKEN", field="slack_bot_token", about="bot token, xoxb-…"),
    Variable(
        name="SLACK_APP_TOKEN",
        field="slack_app_token",
        about="app-level token, xapp-…, for Socket Mode; without it Slack has to reach us by HTTP",
    ),
    Variable(
        name="SLACK_SIGNING_SECRET",
        field="slack_signing_secret",
        about="signs Slack's requests; needed only without SLACK_APP_TOKEN",
    ),
    Variable(
        name="SLACK_API_URL",
        field="slack_api_url",
        about="another Slack Web API than https://slack.com/api/",
    ),
    Variable(name="GITLAB_URL", field="gitlab_url", about="for example https://gitlab.com"),
    Variable(
        name="GITLAB_TOKEN",
        field="gitlab_token",
        about="pushes branches, opens merge requests (Developer, api scope)",
    ),
    Variable(
        name="GITLAB_READ_TOKEN",
        field="gitlab_read_token",
        about="reads projects and members (read_api, read_repository)",
    ),
    Variable(
        name="GITLAB_MERGE_TOKEN",
        field="gitlab_merge_token",
        about="merges and starts jobs that deploy (api scope); empty: GITLAB_TOKEN does",
    ),
    Variable(
        name="GITLAB_SIGNIN_ID",
        field="gitlab_signin_id",
        about="id of our application at GitLab, by which people prove who they are",
    ),
    Variable(
        name="GITLAB_SIGNIN_SECRET",
        field="gitlab_signin_secret",
        about="secret of that application; empty: it is not confidential",
    ),
    Variable(
        name="GITLAB_WEBHOOK_SECRET",
        field="gitlab_webhook_secret",
        about="secret or signing token of GitLab's webhooks; empty: none are heard",
    ),
    Variable(name="OPENAI_API_KEY", field="openai_api_key", about="key of the model endpoint"),
    Variable(
        name="OPENAI_BASE_URL",
        field="openai_base_url",
        about="any endpoint that speaks Chat Completions; empty: OpenAI",
    ),
    Variable(name="JOURNEYMAN_MODEL", field="model", about="name of the model"),
    Variable(
        name="JOURNEYMAN_MODEL_PLAN",
        field="model_plan",
        about="model until there is a plan; empty: the same",
    ),
    Variable(
        name="JOURNEYMAN_MODEL_REPAIR",
        field="model_repair",
        about="model after red tests or a red pipeline; empty: the same",
    ),
    Variable(
        name="JOURNEYMAN_EMBEDDING_MODEL",
        field="embedding_model",
        about="model of embeddings, to find code by meaning; empty: by its words alone",
    ),
    Variable(
        name="EMBEDDINGS_API_KEY",
        field="embeddings_api_key",
        about="key of the endpoint under [embeddings]; without base_url there, OPENAI_API_KEY does",
    ),
    Variable(
        name="DATABASE_URL",
        field="database_url",
        about="PostgreSQL 15+ with pgvector; empty: one is started under JOURNEYMAN_HOME",
    ),
    Variable(
        name="DATABASE_ADMIN_URL",
        field="database_admin_url",
        about="owner of the tables, for `journeyman migrate` only",
    ),
    Variable(
        name="JOURNEYMAN_HOME", field="home", about="where state is kept; default ~/.journeyman"
    ),
    Variable(name="JOURNEYMAN_CONFIG", field="config", about="path of the file journeyman.toml"),
    Variable(
        name="JOURNEYMAN_PUBLIC_URL",
        field="public_url",
        about="address of our pages as people reach them",
    ),
    Variable(
        name="JOURNEYMAN_LISTEN",
        field="listen",
        about="address and port of our pages, health and Slack's requests; default 127.0.0.1:8080",
    ),
    Variable(
        name="JOURNEYMAN_FAILPOINTS",
        field="failpoints",
        about="for tests only: where this process dies or fails on purpose; empty: nowhere",
    ),
)
