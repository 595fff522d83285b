"""Which projects are frozen, in PostgreSQL, and what that does to their runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent.adapters import event_codec as codec
from agent.adapters import store_sql as sql
from agent.adapters.postgres import Connection, Pool, Row
from agent.adapters.postgres_append import Append, prepared
from agent.adapters.postgres_listener import FREEZES, Listener
from agent.adapters.postgres_retry import retried, transact
from agent.errors import Fenced, NotFound
from agent.events import Payload, RunFrozen, RunThawed, StatusChanged
from agent.freeze import EVERYWHERE, INTERRUPTED, Freeze, OperatorEvent
from agent.run import ENDED, WAITING, Person, RunId, RunStatus

_ENDED = [str(status) for status in ENDED]
_COLUMNS = "scope, by, reason, at"
#: The notification is part of the transaction.
FREEZE = f"""
WITH added AS (
    INSERT INTO freezes (scope, by, reason) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
    RETURNING {_COLUMNS}
)
SELECT *, pg_notify('journeyman_freezes', scope) FROM added"""
STANDING = f"SELECT {_COLUMNS} FROM freezes WHERE scope = $1"
#: Of two who are told the same the second one sees what the first one did.
ALONE = "SELECT pg_advisory_xact_lock(hashtext('journeyman_unfreeze'))"
FROZE = """
SELECT true FROM operator_events
WHERE deed = 'freeze' AND scope = $1 AND by ->> 'id' = $2 AND at > $3 AND refused = '' LIMIT 1"""
UNFREEZE = f"DELETE FROM freezes WHERE scope = $1 RETURNING {_COLUMNS}"
#: No row: this person has not said so since. Else what they ended, all null where that was
#: nothing: the freeze that stood then, whoever joined in later.
UNFROZEN = """
SELECT f.scope, f.by, f.reason, f.at FROM (
    SELECT id FROM operator_events
    WHERE deed = 'unfreeze' AND scope = $1 AND by ->> 'id' = $2 AND at > $3 AND refused = ''
    ORDER BY id DESC LIMIT 1
) AS u LEFT JOIN LATERAL (
    SELECT * FROM operator_events f
    WHERE f.id < u.id AND f.deed = 'freeze' AND f.scope = $1 AND f.refused = ''
        AND NOT EXISTS (
            SELECT FROM operator_events e
            WHERE e.id < u.id AND e.id > f.id AND e.deed = 'unfreeze' AND e.scope = $1
                AND e.refused = '')
    ORDER BY f.id LIMIT 1
) AS f ON true"""
FREEZE_OF = f"SELECT {_COLUMNS} FROM freezes WHERE scope IN ('', $1) ORDER BY scope LIMIT 1"
ALL = f"SELECT {_COLUMNS} FROM freezes ORDER BY scope"
RECORD = """
INSERT INTO operator_events (deed, scope, by, reason, refused) VALUES ($1, $2, $3, $4, $5)"""
HELD = """
SELECT id FROM runs
WHERE frozen AND ($1 = '' OR project = $1) AND NOT status = ANY ($2::text[]) ORDER BY id"""
SET_FROZEN = "UPDATE runs SET frozen = $2 WHERE id = $1"
#: What a freeze has put off comes at once. Those who watch look again soon, and not all together.
RELEASE = """
UPDATE engine.pgqueuer SET updated = now(), execute_after = now()
WHERE status = 'queued' AND execute_after > now() AND (
    $1 = '' AND (starts_with(entrypoint, 'run.') OR starts_with(entrypoint, 'effects.'))
    OR entrypoint IN ('run.' || $1, 'effects.' || $1))"""


class FreezeTable:
    """`agent.ports.Freezes`."""

    def __init__(self, pool: Pool, listener: Listener) -> None:
        self._pool = pool
        self._listener = listener

    async def freeze(
        self, scope: str, by: Person, reason: str, said: datetime | None = None
    ) -> Freeze:
        async def once(connection: Connection) -> Freeze:
            await connection.execute(ALONE)
            if said and await connection.fetchval(FROZE, scope, by.id, said):
                row = await connection.fetchrow(STANDING, scope)
                if row is None:
                    raise NotFound(
                        "You have said this before, and that freeze was ended since. Nothing was "
                        "done; say it again to freeze anew."
                    )
                return _freeze(row)
            row = await connection.fetchrow(FREEZE, scope, codec.to_json(by), reason)
            await _record(
                connection, OperatorEvent(deed="freeze", scope=scope, by=by, reason=reason)
            )
            row = row or await connection.fetchrow(STANDING, scope)
            if row is None:
                raise NotFound("The freeze that stood was ended in this very moment; try again.")
            return _freeze(row)

        return await transact(self._pool, once)

    async def unfreeze(
        self, scope: str, by: Person, reason: str, said: datetime | None = None
    ) -> Freeze | None:
        async def once(connection: Connection) -> Freeze | None:
            await connection.execute(ALONE)
            if said and (done := await connection.fetchrow(UNFROZEN, scope, by.id, said)):
                return _freeze(done) if done["scope"] is not None else None
            row = await connection.fetchrow(UNFREEZE, scope)
            await _record(
                connection, OperatorEvent(deed="unfreeze", scope=scope, by=by, reason=reason)
            )
            await connection.execute(RELEASE, scope)
            return _freeze(row) if row else None

        ended = await transact(self._pool, once)
        for row in await retried(lambda: self._pool.fetch(HELD, scope, _ENDED)):
            await self.heed_freeze(row["id"])  # so that its card does not wait for its turn
        return ended

    async def frozen(self, project: str) -> Freeze | None:
        row = await retried(lambda: self._pool.fetchrow(FREEZE_OF, project))
        return _freeze(row) if row else None

    async def freezes(self) -> Sequence[Freeze]:
        return [_freeze(row) for row in await retried(lambda: self._pool.fetch(ALL))]

    async def until_frozen(self, project: str) -> None:
        scopes = {project, EVERYWHERE}
        with self._listener.subscribed(FREEZES) as freezes:
            while await self.frozen(project) is None:
                while (taken := await freezes.take()) is not None and scopes.isdisjoint(taken):
                    pass

    async def heed_freeze(self, run: RunId, *, epoch: int | None = None) -> Freeze | None:
        async def once(connection: Connection) -> Freeze | None:
            row = await connection.fetchrow(sql.LOCK_RUN, run)
            if row is None:
                raise NotFound(f"There is no run {run}.")
            if epoch is not None and row["epoch"] != epoch:
                raise Fenced(f"Run {run} was taken over by another worker.")
            return await heed(connection, row, let_go=epoch is not None)

        return await transact(self._pool, once)

    async def record(self, event: OperatorEvent) -> None:
        await transact(self._pool, lambda connection: _record(connection, event))


async def heed(connection: Connection, row: Row, *, let_go: bool = False) -> Freeze | None:
    """Makes the locked run's log say whether a freeze holds it, and gives the freeze that does.
    With `let_go` its worker lets go of it, and it is queued again."""
    found = await connection.fetchrow(FREEZE_OF, row["project"])
    freeze, status = _freeze(found) if found else None, RunStatus(row["status"])
    told = bool(row["frozen"]) is (freeze is not None)
    if status in ENDED | WAITING or (told and not let_go):
        return freeze
    payloads: tuple[Payload, ...] = ()
    if freeze and not told:
        payloads = (RunFrozen(freeze=freeze, status=status),)
        if status in INTERRUPTED | {RunStatus.QUEUED}:
            queued = StatusChanged(status=RunStatus.QUEUED, reason=freeze.sentence)
            payloads = (*payloads, queued)
    elif not told:
        payloads = (RunThawed(),)
    append = Append(row, await prepared(payloads), actor="service")
    append.move(None)
    if row["owner"] is not None and (freeze or let_go):
        append.owner = None
        append.epoch += 1  # whoever still holds it writes nothing more
    append.wake = let_go
    await append.write(connection)
    await connection.execute(SET_FROZEN, row["id"], freeze is not None)
    return freeze


async def _record(connection: Connection, event: OperatorEvent) -> None:
    by = codec.to_json(event.by)
    await connection.execute(RECORD, event.deed, event.scope, by, event.reason, event.refused)


def _freeze(row: Row) -> Freeze:
    by = codec.person(row["by"])
    return Freeze(scope=row["scope"], by=by, reason=row["reason"], at=row["at"])
