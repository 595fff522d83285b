"""Ledgers that somebody has altered, and what the oracle should say of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from altering import (
    Alter,
    again,
    by_requester,
    card_of,
    commits_by,
    early,
    encoded,
    ended,
    gate,
    instructed,
    job,
    later,
    leak,
    message,
    more,
    mr,
    no_run,
    nobody_asked,
    open_intent,
    payloads,
    post_elsewhere,
    rights,
    said,
    second_in_thread,
    self_approval,
    settings,
    silent,
    slot,
    spends,
    unhandled,
    unheard,
    unsent,
    unsure,
    waiting,
    without,
)

from agent.events import (
    EffectDone,
    EffectIntended,
    EffectKind,
    GateClosed,
    GateOpened,
    GateVoted,
)
from agent.run import RunStatus

SHOUT = {"type": "mrkdwn", "text": "<!here> hi"}
WORDS = {"text": "for @channel"}
_BODY = b'{"source_branch": "agent/1", "title": "Another one"}'
PUSH, MERGE_REQUESTS, MERGE = "git-receive-pack", "/merge_requests", "/merge"
OTHER = "f" * 40
#: By invariant: what is altered, and a word of what is found.
VIOLATED: Sequence[tuple[str, str, Alter, str]] = (
    ("I1", "lost delivery", lambda b: replace(b, inbox=[]), "there is no"),
    ("I1", "unhandled", unhandled, "never handled"),
    ("I1", "no run", no_run, "nothing"),
    ("I1", "stays at work", ended(RunStatus.WORKING), "no job leads to it"),
    ("I1", "waits unseen", ended(RunStatus.WAITING_FOR_ANSWER), "none of"),
    ("I1", "row and log", lambda b: replace(b, runs=[replace(b.runs[0], status="x")]), "row says"),
    ("I1", "dead worker", more("jobs", lambda _: job(silent=60.0)), "two leases"),
    ("I1", "failed job", more("jobs", lambda _: job(status="failed")), "has failed"),
    ("I1", "open intent", open_intent, "no outcome"),
    ("I2", "same key", more("runs", lambda b: replace(b.runs[0], message_ts="5.5")), "the key"),
    ("I2", "same message", more("runs", lambda b: replace(b.runs[0], key="k")), "asked for by"),
    ("I2", "same thread", second_in_thread, "under way"),
    ("I2", "night", lambda b: replace(b, nights=[("p", "lint", b.seen[0].at)] * 2), "nights"),
    ("I3", "no request", lambda b: replace(b, merge_requests={}), "come from agent/1"),
    (
        "I3",
        "two requests",
        lambda b: replace(
            b, merge_requests={**b.merge_requests, 2: replace(b.merge_requests[1], iid=2)}
        ),
        "come from agent/1",
    ),
    ("I3", "a stray branch", lambda b: replace(b, refs={**b.refs, "agent/9": OTHER}), "no run"),
    ("I4", "merged twice", again(MERGE), "2 times"),
    ("I4", "not merged", mr(state="opened"), "it is opened"),
    ("I4", "another commit", mr(sha=OTHER), "merged at"),
    ("I4", "red", lambda b: replace(b, pipelines=[]), "pipelines: none"),
    ("I4", "no vote", without(GateVoted), "is merged; gate"),
    ("I4", "rejected", payloads(GateClosed, outcome="rejected"), "is merged; gate"),
    ("I4", "by who asked", by_requester, "who asked for it"),
    ("I4", "by who committed", commits_by("sam@example.com"), "its commits are by"),
    ("I4", "pushed later", later(GateOpened, -3600), "last push"),
    ("I4", "rights unread", lambda b: replace(b, seen=b.changes), "asked for the rights"),
    ("I4", "rights too few", rights(30), "level 30 of 40"),
    ("I4", "rights untold", rights(0), "level 0 of 40"),
    ("I4", "by who instructed", instructed, "said what to do"),
    ("I4", "nobody asked", nobody_asked, "0 were asked"),
    ("I4", "too few asked", settings(approvals=2), "1 were asked"),
    ("I4", "left to people", lambda b: replace(b, settings=[]), "1 were asked"),
    ("I4", "own approval", self_approval, "who asked could let it pass"),
    ("I5", "altered log", lambda b: replace(b, changed={1: 5}), "was changed at 5"),
    ("I5", "unannounced push", without(EffectIntended, effect=EffectKind.PUSH), "nothing"),
    ("I5", "unannounced merge", without(EffectIntended, effect=EffectKind.MERGE), "nothing"),
    ("I5", "announced late", later(EffectIntended, 3600, effect=EffectKind.MERGE), "nothing"),
    ("I5", "no outcome", without(EffectDone, effect=EffectKind.PUSH), "never answered for"),
    ("I5", "opened twice", again(MERGE_REQUESTS), "2 times"),
    ("I5", "opened two", again(MERGE_REQUESTS, body=_BODY), "2 times"),
    ("I5", "of another branch", again(PUSH, pushed=(("0", OTHER, "refs/heads/x"),)), "nothing"),
    ("I5", "unknown message", slot(ts="7.7"), "stands at"),
    (
        "I5",
        "message unsent",
        more("slots", unsent),
        "never posted",
    ),
    ("I6", "no card", message("card", lambda _: None), "there is no card"),
    ("I6", "wrong word", message("card", lambda m: replace(m, text="Run 1: failed")), "card:"),
    ("I6", "two cards", more("messages", lambda b: replace(card_of(b), ts="8.8")), "2 times"),
    ("I6", "gate missing", message("gate", lambda _: None), "it is missing"),
    ("I6", "not merged", mr(state="opened"), "are merged"),
    (
        "I6",
        "everybody",
        said(channel="C", blocks=[SHOUT]),
        "everybody",
    ),
    ("I6", "everybody in words", said(channel="C", blocks=[SHOUT | WORDS]), "everybody"),
    ("I6", "everybody at once", said(channel="C", text="<!channel> hi"), "everybody"),
    ("I6", "everybody by name", said(channel="C", text="@here hi", link_names=True), "everybody"),
    ("I6", "too early", early, "log: merged at"),
    ("I6", "silence", silent, "nothing for"),
    ("I6", "a short wait", waiting("GitLab does not answer. Retrying in 2 min, 2 of 5"), "nothing"),
    *(
        ("I7", f"{name} in {sink}", leak(form, sink), "GITLAB_TOKEN is in")
        for name, form in {
            "plain": lambda t: f"it is {t}.",
            "base64": encoded,
            "hex": lambda t: t.encode().hex(),
            "backwards": lambda t: t[::-1],
            "pieces": lambda t: f'{t[:9]}" + \n "{t[9:]}',
        }.items()
        for sink in ("calls", "prompts", "seen", "objects", "log", "responses", "stored", "vaults")
    ),
    ("I8", "process", lambda b: replace(b, processes=["sleep 1000"]), "is left"),
    ("I8", "folder", lambda b: replace(b, folders=frozenset({"run-1-1-x"})), "run-1-1-x"),
    ("I8", "file", lambda b: replace(b, home=b.home | {".bashrc"}), ".bashrc"),
    ("I9", "deletes", again(PUSH, method="DELETE", path="/api/v4/projects/1", pushed=()), "no"),
    ("I9", "another project", again(MERGE, path="/api/v4/projects/9/merge_requests/1/merge"), "9"),
    ("I9", "another branch", again(PUSH, pushed=(("0", OTHER, "refs/heads/main"),)), "ours are"),
    ("I9", "another channel", post_elsewhere, "nobody wrote there"),
    ("I9", "another thread", message("card", lambda m: replace(m, thread_ts="3.3")), "its thread"),
    ("I10", "steps", spends(prompt_tokens=4_000_000), "tokens of"),
    ("I10", "money", spends(money=6.0), "cost"),
    ("I10", "requests", lambda b: replace(b, prompts=[*b.prompts] * 9), "requests"),
    ("I10", "a text", more("stored", lambda _: b"x" * (17 << 20)), "bytes"),
    ("I11", "never closed", without(GateClosed), "acted on"),
    ("I11", "closed no", payloads(GateClosed, outcome="expired"), "acted on"),
    ("I11", "closed late", later(GateClosed, 3600), "acted on"),
    ("I11", "another gate", gate(id="0" * 32), "none of this run's"),
    (
        "I11",
        "unsure",
        unsure,
        "GitLab's answers",
    ),
    *(
        ("I11", f"{word}, {status}", unheard(path, status), f"GitLab on the {word}")
        for word, path in {
            "pipeline": "/pipelines?sha=",
            "request": "/merge_requests/1",
            "change": "/raw_diffs",
            "account": "/users/",
            "rights": "/members/all/",
        }.items()
        for status in (None, 500)
    ),
    ("I12", "inbox", unhandled, "was not handled"),
    ("I12", "queue", more("jobs", lambda _: job()), "is due"),
    ("I12", "intents", open_intent, "has no outcome"),
    ("I12", "messages", slot(state="intended"), "about to be sent"),
)
