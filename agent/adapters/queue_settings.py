"""The names of PgQueuer's tables."""

from __future__ import annotations

from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel

from agent.adapters.postgres_listener import QUEUE


def queue_settings() -> DBSettings:
    """Every name is given: PgQueuer would take what is left out from the environment, under
    names as common as CHANNEL."""
    return DBSettings(
        prefix="",
        db_schema="engine",
        channel=Channel(QUEUE),
        function="fn_engine_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=True,
    )
