"""The instance: users, tokens, groups and projects, and who may do what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from playground.gitlab.oauth_records import Provider
from playground.gitlab.records import (
    DEVELOPER,
    MAINTAINER,
    OWNER,
    Grant,
    Group,
    Member,
    Project,
    ProtectedBranch,
    Token,
    User,
)
from playground.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it was, for who checks afterwards what was done to GitLab."""

    arrived: datetime
    at: datetime  #: when it had been carried out
    actor: str  #: username; empty without a valid token
    method: str
    path: str  #: raw, with query
    status: int
    #: what was sent, but for the packs of a push: those are in the repository
    body: bytes = b""
    #: what a push has changed, as (old, new, ref)
    pushed: tuple[tuple[str, str, str], ...] = ()
    answer: bytes = b""  #: what was said, where it is short


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something moved; `kind` is GitLab's object kind, `project` its path."""

    kind: str
    project: str
    iid: int | None = None


@dataclass(kw_only=True)
class Lags:
    """Seconds for which GitLab's background work lags behind what was asked."""

    branch: float = 0.0  #: a pushed branch is unknown to the merge request API
    merge_check: float = 0.0  #: `preparing`, then `checking`
    approvals: float = 0.0  #: `approvals_syncing` after a push
    train: float = 0.0  #: a merge train takes before it merges


class State:
    def __init__(self) -> None:
        self.users: dict[int, User] = {}
        self.tokens: dict[int, Token] = {}
        self.groups: dict[int, Group] = {}
        self.projects: dict[int, Project] = {}
        self.requests: Ledger[Seen] = Ledger()
        self.lags = Lags()
        self.oauth = Provider()
        self._ids: dict[str, int] = {}
        self._subscribers: list[Callable[[Change], None]] = []

    # --- bookkeeping

    def next_id(self, kind: str) -> int:
        self._ids[kind] = self._ids.get(kind, 0) + 1
        return self._ids[kind]

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def younger(self, since: float, seconds: float) -> bool:
        """Whether it began less than so many seconds ago."""
        return 0 <= self.monotonic() - since < seconds

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Calls back on every change until the returned function is called."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def publish(self, kind: str, project: Project, iid: int | None = None) -> None:
        change = Change(kind=kind, project=self.full_path(project), iid=iid)
        for callback in tuple(self._subscribers):
            callback(change)

    # --- seeds

    def add_user(
        self,
        username: str,
        *,
        name: str = "",
        email: str = "",
        admin: bool = False,
        bot: bool = False,
    ) -> User:
        user = User(
            id=self.next_id("user"),
            username=username,
            name=name or username,
            email=email or f"{username}@example.com",
            namespace_id=self.next_id("namespace"),
            created_at=self.now(),
            admin=admin,
            bot=bot,
        )
        self.users[user.id] = user
        return user

    def add_token(
        self,
        user: User,
        *scopes: str,
        name: str = "token",
        secret: str = "",
        expires_at: date | None = None,
        project: Project | None = None,
        access_level: int = 0,
    ) -> Token:
        token = Token(
            id=self.next_id("token"),
            user_id=user.id,
            name=name,
            secret=secret or f"glpat-{secrets.token_urlsafe(15)}",
            scopes=frozenset(scopes or ("api",)),
            created_at=self.now(),
            expires_at=expires_at,
            project_id=project.id if project else None,
            access_level=access_level,
        )
        self.tokens[token.id] = token
        return token

    def add_group(self, path: str, *, name: str = "", parent: Group | None = None) -> Group:
        group = Group(
            id=self.next_id("namespace"),
            name=name or path,
            path=path,
            created_at=self.now(),
            parent_id=parent.id if parent else None,
        )
        self.groups[group.id] = group
        return group

    def add_member(
        self, place: Project | Group, user: User, level: int, by: int | None = None
    ) -> Member:
        member = Member(user_id=user.id, access_level=level, created_at=self.now(), created_by=by)
        place.members[user.id] = member
        return member

    def protect(
        self, project: Project, name: str, *, push: int = MAINTAINER, merge: int = MAINTAINER
    ) -> ProtectedBranch:
        branch = ProtectedBranch(
            id=self.next_id("protected_branch"),
            name=name,
            push=[Grant(id=self.next_id("grant"), access_level=push)],
            merge=[Grant(id=self.next_id("grant"), access_level=merge)],
        )
        project.protected_branches[name] = branch
        return branch

    # --- looking up

    def user_by_name(self, username: str) -> User | None:
        wanted = username.lower()
        return next((u for u in self.users.values() if u.username.lower() == wanted), None)

    def namespace_path(self, namespace_id: int) -> str:
        group = self.groups.get(namespace_id)
        if group is None:
            owner = next(u for u in self.users.values() if u.namespace_id == namespace_id)
            return owner.username
        if group.parent_id is None:
            return group.path
        return f"{self.namespace_path(group.parent_id)}/{group.path}"

    def full_path(self, project: Project) -> str:
        return f"{self.namespace_path(project.namespace_id)}/{project.path}"

    def project_by(self, key: str) -> Project | None:
        """By number or by full path, in any case of letters."""
        if key.isdigit():
            return self.projects.get(int(key))
        wanted = key.lower()
        return next(
            (p for p in self.projects.values() if self.full_path(p).lower() == wanted), None
        )

    def group_by(self, key: str) -> Group | None:
        if key.isdigit():
            return self.groups.get(int(key))
        wanted = key.lower()
        return next(
            (g for g in self.groups.values() if self.namespace_path(g.id).lower() == wanted), None
        )

    def lineage(self, group_id: int | None) -> Iterator[Group]:
        """The group and those above it."""
        while group_id is not None and (group := self.groups.get(group_id)):
            yield group
            group_id = group.parent_id

    # --- rights

    def inherited(self, project: Project) -> dict[int, Member]:
        """Members of the project and of the groups above it, the highest level of each."""
        return self._highest([project.members], project.namespace_id)

    def group_members(self, group: Group) -> dict[int, Member]:
        return self._highest([], group.id)

    def _highest(self, places: list[dict[int, Member]], group_id: int) -> dict[int, Member]:
        for group in self.lineage(group_id):
            places.append(group.members)
            for shared_id, cap in group.shared_with.items():
                for member in self._highest([], shared_id).values():
                    level = min(member.access_level, cap)
                    places.append(
                        {
                            member.user_id: Member(
                                user_id=member.user_id,
                                access_level=level,
                                created_at=member.created_at,
                            )
                        }
                    )
        found: dict[int, Member] = {}
        for members in places:
            for user_id, member in members.items():
                expired = member.expires_at and member.expires_at <= self.now().date().isoformat()
                before = found.get(user_id)
                if not expired and (before is None or before.access_level < member.access_level):
                    found[user_id] = member
        return found

    def access(self, project: Project, user: User | None) -> int:
        if user is None or user.state != "active":
            return 0
        if user.admin or project.namespace_id == user.namespace_id:
            return OWNER
        member = self.inherited(project).get(user.id)
        return member.access_level if member else 0

    def visible(self, project: Project, user: User | None) -> bool:
        return (
            project.visibility == "public"
            or (project.visibility == "internal" and user is not None)
            or self.access(project, user) > 0
        )

    def protection(self, project: Project, branch: str) -> list[ProtectedBranch]:
        return [
            rule
            for rule in project.protected_branches.values()
            if rule.name == branch or ("*" in rule.name and fnmatchcase(branch, rule.name))
        ]

    def granted(self, grants: list[Grant], project: Project, user: User | None) -> bool:
        level = self.access(project, user)
        return any(
            (grant.user_id is not None and user is not None and grant.user_id == user.id)
            or (grant.access_level and level >= grant.access_level)
            for grant in grants
        )

    def may_push(self, project: Project, user: User | None, branch: str) -> bool:
        rules = self.protection(project, branch)
        if not rules:
            return self.access(project, user) >= DEVELOPER
        return any(self.granted(rule.push, project, user) for rule in rules)

    def may_merge(self, project: Project, user: User | None, branch: str) -> bool:
        rules = self.protection(project, branch)
        if not rules:
            return self.access(project, user) >= DEVELOPER
        return any(
            self.granted(rule.merge, project, user) or self.granted(rule.push, project, user)
            for rule in rules
        )
