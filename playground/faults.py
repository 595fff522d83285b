"""Faults on order: what a stand-in does wrong, for which call, and how often.

A stand-in names each of its calls ("chat.postMessage", "POST /projects/:id/merge_requests",
"event:app_mention"). A fault names the calls it hits by a pattern and waits for the nth of them,
counted from the moment at which it was set. The middleware carries out what concerns a call's
answer; what else there is only the stand-in itself can do, so it asks for it.

In a test: `gitlab.faults.set(Fault(mode=FaultMode.FAIL, method="PUT */merge", status=502))`, from
outside: the same as JSON to `POST /control/faults`. The hits are counted in what `set` returns.
With a `chance` it hits only so many of its calls: which ones, the `seed` of the faults decides.

- An answer that is lost though the call was carried out (a merge, a job that is played, a revert):
  `drop_after_apply` on "PUT /projects/:id/merge_requests/:iid/merge",
  "POST /projects/:id/jobs/:job_id/play" or "POST /projects/:id/repository/commits/:sha/revert".
- An answer that GitLab gives only in odd moments: `fail` with `status` (405, 406, 409, 422, 500) on
  the same. Rights that cannot be read: `fail` on "GET /projects/:id/members/all/:user_id".
- Nobody answers at all: `hang`. The call is carried out once the fault is cleared.
- Reads from a replica that lags: `stale_reads` with `seconds`. The oldest answer of that time to
  the same question by the same user is given, so it has to have been asked since the fault was set.
- A pipeline that goes red after the merge, a deployment that fails, a job that takes long:
  `job_fails` and `job_waits` on "job:REF:NAME", for example "job:main:deploy-production".
  Jobs run in a sandbox if the stand-in has one, or at once with `gitlab.instant.InstantRunner`.
- GitLab's background work, for `checking`, `approvals_syncing` and the like:
  `PUT /control/lags` of the stand-in, or `gitlab.state.lags`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from aiohttp import web


class FaultMode(StrEnum):
    FAIL = "fail"  # answered with `status` or `error`, not applied
    DELAY = "delay"  # applied `seconds` later
    HANG = "hang"  # applied when the fault is cleared, and not answered before
    DROP_AFTER_APPLY = "drop_after_apply"  # applied, then the connection is cut
    RATE_LIMIT = "429"  # answered 429 with `Retry-After: seconds`, not applied
    STALE_READS = "stale_reads"  # a read sees the state of `seconds` ago
    DUPLICATE = "duplicate"  # a delivery goes out twice
    JOB_FAILS = "job_fails"  # a job ends red without having run; `error` is its failure_reason
    JOB_WAITS = "job_waits"  # a job takes `seconds` longer


#: what the middleware does to a call
_OF_CALLS = (
    FaultMode.FAIL,
    FaultMode.DELAY,
    FaultMode.HANG,
    FaultMode.DROP_AFTER_APPLY,
    FaultMode.RATE_LIMIT,
    FaultMode.STALE_READS,
)


_WAITS = (FaultMode.DELAY, FaultMode.HANG)


@dataclass(frozen=True, kw_only=True)
class Fault:
    mode: FaultMode
    method: str = "*"  #: pattern for the names of the calls, with `*` and `?`
    nth: int = 1  #: the first matching call that is hit
    times: int = 1  #: how many it hits from there on; 0 means all
    chance: float = 1.0  #: with which a call from there on is hit
    status: int = 500  #: of `fail`
    #: of `fail`: the service's own error, for example "channel_not_found"
    error: str = ""
    seconds: float = 1.0  #: of `delay`, `429`, `stale_reads` and `job_waits`

    @staticmethod
    def parse(raw: dict[str, Any]) -> Fault:
        """Raise ValueError with a sentence when a key or a value is not a fault's."""
        known = {each.name for each in fields(Fault)}
        if unknown := set(raw) - known:
            raise ValueError(f"A fault has no {sorted(unknown)}; it has {sorted(known)}.")
        if raw.get("mode") not in list(FaultMode):
            raise ValueError(f"A fault needs a mode: {', '.join(FaultMode)}.")
        values: dict[str, Any] = {**raw, "mode": FaultMode(raw["mode"])}
        for name, value in values.items():
            number = (int, float)
            expected = {"seconds": number, "chance": number}
            expected |= dict.fromkeys(("method", "error", "mode"), str)
            if isinstance(value, bool) or not isinstance(value, expected.get(name, int)):
                raise ValueError(f"{name} of a fault cannot be {value!r}.")
        if not 0 <= values.get("chance", 1.0) <= 1:
            raise ValueError("chance of a fault is from 0 to 1.")
        return Fault(**values)


@dataclass(kw_only=True)
class SetFault:
    id: int
    fault: Fault
    seen: int = 0  #: matching calls since it was set
    hits: int = 0
    draw: Random = field(default_factory=Random)
    cleared: asyncio.Event = field(default_factory=asyncio.Event)

    def meets(self) -> bool:
        """Count a matching call and say whether it is hit."""
        self.seen += 1
        fault = self.fault
        hit = self.seen >= fault.nth and (fault.times == 0 or self.hits < fault.times)
        hit = hit and (fault.chance >= 1 or self.draw.random() < fault.chance)
        self.hits += hit
        return hit


@dataclass(kw_only=True)
class Faults:
    """The faults that are set on one stand-in.

    What one fault with a `chance` hits depends on the seed, on how many faults were set before it
    and on the order of its own calls, and on nothing else.
    """

    #: drawn by the first fault with a `chance` unless it is given, so that it can be told
    seed: int | None = None
    entries: list[SetFault] = field(default_factory=list[SetFault])
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def set(self, fault: Fault) -> SetFault:
        entry = SetFault(id=next(self._ids), fault=fault)
        if fault.chance < 1:
            if self.seed is None:
                self.seed = secrets.randbits(32)
            entry.draw = Random(f"{self.seed}:{entry.id}")
        self.entries.append(entry)
        return entry

    def clear(self, id: int | None = None) -> None:
        for each in self.entries:
            if id is None or each.id == id:
                each.cleared.set()
        self.entries = [each for each in self.entries if not each.cleared.is_set()]

    def meet(self, call: str, *modes: FaultMode) -> list[Fault]:
        """The faults of these modes that hit this call. Ask once per call: asking counts."""
        return [each.fault for each in self.meeting(call, *modes)]

    def meeting(self, call: str, *modes: FaultMode) -> list[SetFault]:
        """The same, for who has to know when a fault is cleared."""
        return [
            each
            for each in self.entries
            if each.fault.mode in modes and fnmatchcase(call, each.fault.method) and each.meets()
        ]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STALE_SECONDS: web.RequestKey[float] = web.RequestKey("stale_seconds", float)


def fault_middleware(
    faults: Faults,
    *,
    call_of: Callable[[web.Request], str | None],
    failure: Callable[[Fault], web.Response],
) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """`call_of` names the request's call, or None where no fault may hit (the control API);
    `failure` builds the service's own answer to `fail`. For `stale_reads` the handler finds
    `request.get(STALE_SECONDS)`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        call = call_of(request)
        if call is None:
            return await handler(request)
        cut = False
        hit = faults.meeting(call, *_OF_CALLS)
        for each in sorted(hit, key=lambda each: each.fault.mode not in _WAITS):
            fault = each.fault
            match fault.mode:
                case FaultMode.DELAY:
                    await asyncio.sleep(fault.seconds)
                case FaultMode.HANG:
                    await each.cleared.wait()
                case FaultMode.FAIL:
                    return failure(fault)
                case FaultMode.RATE_LIMIT:
                    return _too_many(fault)
                case FaultMode.STALE_READS:
                    request[STALE_SECONDS] = fault.seconds
                case FaultMode.DROP_AFTER_APPLY:
                    cut = True
                case FaultMode.DUPLICATE | FaultMode.JOB_FAILS | FaultMode.JOB_WAITS:
                    pass
        answer = await handler(request)
        if cut and request.transport is not None:
            request.transport.abort()
        return answer

    return middleware


def _too_many(fault: Fault) -> web.Response:
    headers = {"Retry-After": str(max(1, round(fault.seconds)))}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)


def add_control_routes(app: web.Application, faults: Faults) -> None:
    """`POST`, `GET` and `DELETE /control/faults`, and `DELETE /control/faults/ID`."""

    def shown(entry: SetFault) -> dict[str, Any]:
        return {**asdict(entry.fault), "id": entry.id, "seen": entry.seen, "hits": entry.hits}

    async def set_fault(request: web.Request) -> web.Response:
        try:
            fault = Fault.parse(json.loads(await request.text()))
        except (ValueError, TypeError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return web.json_response(shown(faults.set(fault)), status=201)

    async def list_faults(request: web.Request) -> web.Response:
        return web.json_response([shown(each) for each in faults.entries])

    async def clear_faults(request: web.Request) -> web.Response:
        id = request.match_info.get("id")
        faults.clear(int(id) if id else None)
        return web.Response(status=204)

    app.router.add_post("/control/faults", set_fault)
    app.router.add_get("/control/faults", list_faults)
    app.router.add_delete("/control/faults", clear_faults)
    app.router.add_delete(r"/control/faults/{id:\d+}", clear_faults)
