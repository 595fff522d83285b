"""Merged merge requests point to the files that they changed: read from GitLab, bounded, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gitlab_schema
import pytest
from aiohttp import ClientSession
from test_git_past import PATH, commit, git
from test_git_vault import ENV

from agent.adapters.database import Database
from agent.adapters.git_past import GitPast, VaultCode
from agent.adapters.git_vault import GitVaults
from agent.adapters.gitlab_forge import GitLabReader
from agent.adapters.gitlab_paging import pages
from agent.adapters.system_clock import SystemClock
from agent.ports import Origin
from agent.retrieval.history import Change, History
from agent.retrieval.indexer import bring_up
from agent.retrieval.library import Library, Readiness
from agent.retrieval.merges import Merges
from agent.retrieval.tokens import Tokens
from agent.run import CommitSha
from playground.faults import Fault, FaultMode
from playground.gitlab.server import Exchange, GitLabStandIn

LISTED = "GET /projects/:id/merge_requests"


@dataclass(kw_only=True)
class Town:
    """A project at GitLab, and what a worker has for reading it."""

    gitlab: GitLabStandIn
    db: Database
    reader: GitLabReader
    past: GitPast
    vaults: GitVaults
    secret: str
    calls: list[Exchange] = field(default_factory=list[Exchange])

    async def api(self, method: str, path: str, **data: Any) -> Any:
        url = f"{self.gitlab.url}/api/v4/projects/{PATH.replace('/', '%2F')}{path}"
        async with (
            ClientSession(headers={"PRIVATE-TOKEN": self.secret}) as session,
            session.request(method, url, json=data) as answer,
        ):
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def merged(
        self,
        title: str,
        files: dict[str, str],
        *,
        messages: Sequence[str] = ("Work",),
        squash: bool = False,
        description: str = "",
    ) -> dict[str, Any]:
        branch = f"topic-{len(self.calls)}"
        for n, message in enumerate(messages):
            actions = [
                {"action": "create", "file_path": path, "content": text}
                for m, (path, text) in enumerate(files.items())
                if m % len(messages) == n
            ]
            start = {"start_branch": "main"} if n == 0 else {}
            await self.api(
                "POST",
                "/repository/commits",
                branch=branch,
                commit_message=message,
                actions=actions,
                **start,
            )
        made = await self.api(
            "POST",
            "/merge_requests",
            source_branch=branch,
            target_branch="main",
            title=title,
            description=description,
        )
        return await self.api("PUT", f"/merge_requests/{made['iid']}/merge", squash=squash)

    async def head(self) -> CommitSha:
        return CommitSha((await self.api("GET", "/repository/branches/main"))["commit"]["id"])

    @property
    def merges(self) -> Merges:
        return Merges(forge=self.reader, store=self.db.merges, landed=self.past.landed)

    async def learn(self) -> CommitSha:
        """As the library does behind the first answer."""
        head = await self.head()
        await self.db.code.remember(PATH, await self.past.changes(PATH, head))
        await self.merges.learn(PATH, head)
        return head

    async def told(self, until: CommitSha | None = None) -> dict[str, Change]:
        changes = await self.db.code.changes(PATH, 100, until)
        return {each.id: each for each in changes if each.commits}

    def asked(self, end: str) -> int:
        return sum(c.method == "GET" and c.path.endswith(end) for c in self.calls)


@pytest.fixture
async def town(
    tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setitem(ENV, "GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    git(work, "init", "-q", "-b", "main")
    commit(work, {"shop.py": "price = 1\n"}, "Begin")
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        mia = gitlab.state.add_user("mia")
        await gitlab.add_project(PATH, owner=mia, source=work)
        secret = gitlab.state.add_token(mia, "api", "write_repository").secret

        async def origin(project: str) -> Origin:
            return Origin(url=f"{gitlab.url}/{PATH}.git", token=secret)

        async with GitLabReader(gitlab.url, secret) as reader:
            scene = Town(
                gitlab=gitlab,
                db=db,
                reader=reader,
                past=GitPast(tmp_path / "past", origin),
                vaults=GitVaults(tmp_path / "vaults"),
                secret=secret,
            )
            gitlab.on_exchange = scene.calls.append
            yield scene


def points(changes: Sequence[Change], text: str) -> dict[str, float]:
    found = History(changes, Tokens()).evidence(text, datetime.now(UTC))
    return dict(found.history)


async def test_what_merge_requests_and_their_issues_say_points_to_what_they_changed(town: Town):
    issue = await town.api("POST", "/issues", title="Cent lost in the invoice totals")
    hidden = await town.api(
        "POST", "/issues", title="Customer Frobnitz is angry", confidential=True
    )
    by_merge = await town.merged(
        "Round half up",
        {"money/round.py": "x = 1\n", "money/sum.py": "y = 1\n"},
        messages=("First try", "Second try"),
        description=f"Closes #{issue['iid']}, closes #{hidden['iid']}",
    )
    by_squash = await town.merged(
        "Greet in French", {"greet.py": "a = 1\n", "words.py": "b = 1\n"}, squash=True
    )
    project = next(iter(town.gitlab.state.projects.values()))
    project.settings["merge_method"] = "ff"
    branch = await town.merged(
        "Export to CSV",
        {"csv.py": "c = 1\n", "export.py": "d = 1\n"},
        messages=("Begin the writer", "End the writer"),
    )
    head = await town.learn()
    told = await town.told(head)
    assert by_merge["merge_commit_sha"]
    assert by_squash["squash_commit_sha"]
    assert told["!1"].title.split("\n") == ["Round half up", "Cent lost in the invoice totals"]
    assert told["!1"].paths == ("money/round.py", "money/sum.py")
    assert told["!2"].paths == ("greet.py", "words.py")
    assert branch["merge_commit_sha"] is None
    everything = await town.db.code.changes(PATH, 100)
    assert (await town.told())["!3"].at >= next(c.at for c in everything if c.id == head)
    found = points(everything, "export everything as csv")
    assert set(found) >= {"csv.py", "export.py"}
    found = points(await town.db.code.changes(PATH, 100, head), "a cent is lost")
    assert set(found) == {"money/round.py", "money/sum.py"}
    assert points(await town.db.code.changes(PATH, 100), "Frobnitz") == {}


async def test_one_that_is_later_than_a_commit_is_not_offered_to_it(town: Town):
    first = await town.head()
    await town.merged("Round half up", {"round.py": "x = 1\n"})
    head = await town.learn()
    assert set(await town.told(head)) == {"!1"}
    assert set(await town.told(first)) == set()
    assert await town.told(CommitSha("a" * 40)) == {}
    assert await town.db.code.changes(PATH, 100, CommitSha("a" * 40)) == []


async def test_nothing_is_read_twice_and_what_changed_is_read_again(town: Town):
    await town.api("POST", "/issues", title="Cent lost")
    await town.merged("Round half up", {"round.py": "x = 1\n"}, description="Closes #1")
    await town.merged("Greet", {"greet.py": "x = 1\n"})
    await town.learn()
    assert town.asked("/closes_issues") == 1  # the other names none
    before = await town.told()
    await town.learn()
    assert (town.asked("/closes_issues"), await town.told()) == (1, before)
    assert any("updated_after" in each.params for each in town.calls)
    await town.api("PUT", "/merge_requests/1", title="Round to even")
    await town.learn()
    again = await town.told()
    assert again["!1"].title == "Round to even\nCent lost"
    assert (again["!1"].at, again["!1"].paths) == (before["!1"].at, before["!1"].paths)
    assert again["!2"] == before["!2"]


async def test_one_bad_page_is_passed_over_and_read_the_next_time(
    town: Town, caplog: pytest.LogCaptureFixture
):
    await town.merged("Round half up", {"round.py": "x = 1\n"})
    town.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=LISTED, status=500, times=0))
    await town.learn()
    assert "page_unread" in caplog.text
    assert await town.told() == {}
    town.gitlab.faults.clear()
    await town.learn()
    assert set(await town.told()) == {"!1"}


async def test_a_gitlab_that_refuses_spoils_nothing(town: Town, caplog: pytest.LogCaptureFixture):
    await town.merged("Round half up", {"round.py": "x = 1\n"})
    await town.learn()
    await town.merged("Greet", {"greet.py": "x = 1\n"})
    town.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=LISTED, status=403, times=0))
    await town.learn()
    assert "merges_unread" in caplog.text
    assert set(await town.told()) == {"!1"}


async def test_an_issue_that_cannot_be_read_leaves_its_merge_request_for_later(town: Town):
    await town.api("POST", "/issues", title="Cent lost")
    await town.merged("Round half up", {"round.py": "x = 1\n"}, description="Closes #1")
    await town.merged("Greet", {"greet.py": "x = 1\n"})
    asking = "GET /projects/:id/merge_requests/:iid/closes_issues"
    town.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=asking, status=500, times=0))
    await town.learn()
    assert set(await town.told()) == {"!2"}
    town.gitlab.faults.clear()
    await town.learn()
    assert (await town.told())["!1"].title == "Round half up\nCent lost"


@pytest.mark.parametrize("status", [403, 404])
async def test_issues_that_gitlab_refuses_leave_each_merge_request_its_own_title(
    town: Town, caplog: pytest.LogCaptureFixture, status: int
):
    await town.api("POST", "/issues", title="Cent lost")
    for name in ("round", "greet", "export"):
        await town.merged(f"About {name}", {f"{name}.py": "x = 1\n"}, description="Closes #1")
    asking = "GET /projects/:id/merge_requests/:iid/closes_issues"
    town.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=asking, status=status, times=0))
    await town.learn()
    told = await town.told()
    assert {id: each.title for id, each in told.items()} == {
        "!1": "About round",
        "!2": "About greet",
        "!3": "About export",
    }
    assert caplog.text.count("issues_refused") == 1
    before = town.asked("/closes_issues")
    await town.learn()  # what was read is read: nobody is asked again
    assert town.asked("/closes_issues") == before
    assert await town.db.merges.read_until(PATH) is not None


async def test_a_token_that_is_revoked_meanwhile_spoils_no_title(town: Town):
    await town.api("POST", "/issues", title="Cent lost")
    await town.merged("Round half up", {"round.py": "x = 1\n"}, description="Closes #1")
    asking = "GET /projects/:id/merge_requests/:iid/closes_issues"
    town.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=asking, status=401))
    await town.learn()
    assert await town.told() == {}
    await town.learn()
    assert (await town.told())["!1"].title == "Round half up\nCent lost"


async def test_pages_end_at_the_most_and_where_nothing_is_left():
    async def get(path: str, **query: str | int) -> Any:
        page = int(query["page"])
        if page == 2:
            return {"message": "not a list"}
        return [{"iid": n} for n in range(100 if page < 5 else 7)]

    async def sizes(most: int) -> list[int | None]:
        return [None if p is None else len(p) async for p in pages(get, "/x", most=most)]

    assert await sizes(300) == [100, None, 100]
    assert await sizes(1000) == [100, None, 100, 100, 7]


async def test_a_merge_into_another_branch_counts_once_it_has_come_to_this_one(town: Town):
    await town.api("POST", "/repository/branches", branch="develop", ref="main")
    await town.api(
        "POST",
        "/repository/commits",
        branch="topic",
        start_branch="develop",
        commit_message="Work",
        actions=[{"action": "create", "file_path": "round.py", "content": "x = 1\n"}],
    )
    wanted = {"source_branch": "topic", "target_branch": "develop", "title": "Round half up"}
    await town.api("POST", "/merge_requests", **wanted)
    await town.api("PUT", "/merge_requests/1/merge")
    await town.learn()
    assert await town.told() == {}
    wanted = {"source_branch": "develop", "target_branch": "main", "title": "Release"}
    await town.api("POST", "/merge_requests", **wanted)
    await town.api("PUT", "/merge_requests/2/merge")
    head = await town.learn()
    told = await town.told(head)
    assert (told["!1"].paths, told["!2"].paths) == (("round.py",), ("round.py",))


async def test_no_project_sees_the_merge_requests_of_another(town: Town):
    await town.merged("Round half up", {"round.py": "x = 1\n"})
    await town.learn()
    assert await town.db.merges.waiting("group/other", 10) == []
    assert await town.db.merges.read_until("group/other") is None
    assert await town.db.merges.read_until(PATH) is not None
    async with town.db.code.of_project("group/other") as connection:
        for table in ("code_changes", "code_merges_read"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    await town.db.code.forget(PATH, keep=0)
    assert await town.db.merges.read_until(PATH) is None
    await town.learn()
    assert set(await town.told()) == {"!1"}


async def test_titles_of_any_characters_are_kept_and_only_counted(town: Town):
    odd = (
        "Round \u202e'; DROP TABLE code_changes; -- \ud83d\ude00 $(reboot) RECORD END " + "x" * 150
    )
    await town.merged(odd, {"round.py": "x = 1\n"})
    head = await town.learn()
    assert (await town.told(head))["!1"].paths == ("round.py",)
    assert "round.py" in points(await town.db.code.changes(PATH, 100, head), "drop table")


async def test_who_searches_never_waits_for_merge_requests(town: Town):
    await town.merged("Round half up", {"money/sum.py": "def total():\n    return 1\n"})
    origin = Origin(url=f"{town.gitlab.url}/{PATH}.git", token=town.secret)
    head, _ = await town.vaults.of(PATH).fetch(origin, None)
    hold, asked, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Held(Merges):
        async def learn(self, project: str, commit: CommitSha) -> int:
            asked.set()
            await hold.wait()
            learnt = await super().learn(project, commit)
            done.set()
            return learnt

    library = Library(
        store=town.db.code,
        sources=lambda project: VaultCode(town.vaults.of(project).repository),
        clock=SystemClock(),
        past=town.past.changes,
        merges=Held(forge=town.reader, store=town.db.merges, landed=town.past.landed),
        patience=60,
    )

    async def by_past(query: str) -> set[str]:
        shelf = await library.shelf(PATH, head)
        assert shelf.state is Readiness.READY
        assert shelf.searcher is not None
        found = await shelf.searcher.search(query)
        return {place.hit.path for place in found.places if place.hit.history}

    async with library:
        assert await by_past("round total half up") == set()
        await asked.wait()
        assert await by_past("round total half up") == set()
        hold.set()
        await done.wait()
        assert await by_past("round total half up") == {"money/sum.py"}


async def test_the_vault_bounds_the_past_before_the_past_is_there(town: Town):
    """What a later commit brought is offered to no earlier one, whoever asks first."""
    vault = town.vaults.of(PATH)
    origin = Origin(url=f"{town.gitlab.url}/{PATH}.git", token=town.secret)
    first, _ = await vault.fetch(origin, None)
    code = VaultCode(vault.repository)
    (own,) = await code.changes(first, 100)
    assert (own.id, own.paths, own.at.year) == (first, (), 2020)
    await town.merged("Round half up", {"round.py": "x = 1\n"})
    head = await town.learn()
    await bring_up(town.db.code, code, PATH, first)
    assert {c.id for c in await town.db.code.changes(PATH, 100, first)} == {first}
    newest = CommitSha("b" * 40)
    alone = Change(id=newest, at=datetime.now(UTC), title="Newest", paths=())
    await town.db.code.remember(PATH, [alone])
    told = {c.id for c in await town.db.code.changes(PATH, 100, newest)}
    assert {first, "!1", newest} <= told  # by its time alone, and what is behind it
    await town.db.code.remember(PATH, [replace(alone, paths=("new.py",)), replace(alone, id=head)])
    paths = {c.id: c.paths for c in await town.db.code.changes(PATH, 100)}
    assert paths[newest] == ("new.py",)
    await town.db.code.remember(PATH, [alone])
    assert {c.id: c.paths for c in await town.db.code.changes(PATH, 100)} == paths


async def test_a_tree_whose_maker_ended_before_it_learnt_is_given_its_past(town: Town):
    await town.merged("Round half up", {"round.py": "def half():\n    return 1\n"})
    vault = town.vaults.of(PATH)
    origin = Origin(url=f"{town.gitlab.url}/{PATH}.git", token=town.secret)
    head, _ = await vault.fetch(origin, None)
    await bring_up(town.db.code, VaultCode(vault.repository), PATH, head)
    learnt = asyncio.Event()

    class Told(Merges):
        async def learn(self, project: str, commit: CommitSha) -> int:
            found = await super().learn(project, commit)
            learnt.set()
            return found

    async with Library(
        store=town.db.code,
        sources=lambda project: VaultCode(vault.repository),
        clock=SystemClock(),
        past=town.past.changes,
        merges=Told(forge=town.reader, store=town.db.merges, landed=town.past.landed),
        patience=60,
    ) as library:
        assert (await library.shelf(PATH, head)).state is Readiness.READY
        await learnt.wait()
        learnt.clear()
        assert (await library.shelf(PATH, head)).state is Readiness.READY
    assert set(await town.told(head)) == {"!1"}
    assert not learnt.is_set()  # once is enough


@gitlab_schema.needs_gitlab_specs
async def test_gitlab_knows_each_call_that_is_made(town: Town):
    await town.api("POST", "/issues", title="Cent lost")
    await town.merged("Round half up", {"round.py": "x = 1\n"}, description="Closes #1")
    next(iter(town.gitlab.state.projects.values())).settings["merge_method"] = "ff"
    await town.merged("Greet", {"greet.py": "x = 1\n"})
    town.calls.clear()
    await town.learn()
    await town.learn()
    for end in ("/merge_requests", "/closes_issues", "/diffs"):
        assert town.asked(end)
    problems = [text for call in town.calls for text in gitlab_schema.problems_of(call)[0]]
    assert not problems, "\n".join(problems)
