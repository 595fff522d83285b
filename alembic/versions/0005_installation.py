"""Sets branches of this database apart from those that an earlier one has left in GitLab."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        "CREATE TABLE installation (one boolean PRIMARY KEY DEFAULT true CHECK (one), "
        "mark text NOT NULL)"
    )
    op.execute("INSERT INTO installation (mark) VALUES (left(md5(gen_random_uuid()::text), 4))")


def downgrade() -> None:
    op.execute("DROP TABLE installation")
