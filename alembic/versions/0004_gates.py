"""Finds the run of a gate, and lets no two gates have one id."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        "CREATE UNIQUE INDEX events_gates ON events ((data -> 'gate' ->> 'id')) "
        "WHERE kind = 'gate_opened'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX events_gates")
