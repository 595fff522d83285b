"""Slack's Web API, for the few things that the bot does: paced, retried, read back on doubt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.canaries import WITHHELD, Canaries
from agent.errors import SettingsError, Unavailable
from agent.run import RunId, Thread
from bot.pace import Pace
from bot.records import Json, record
from bot.slack_api import (
    ATTEMPTS,
    Doubtful,
    SlackApi,
    SlackRejected,
    SlackUnavailable,
)
from bot.views.blocks import Message

log = logging.getLogger("journeyman.slack")

METADATA = "journeyman_message"
_NEWEST = 200  # messages of a channel that are read back
DECISION, PROGRESS = 0, 1  # priorities of a post

_BAD_TOKEN = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked"})
_TOO_MUCH = frozenset({"invalid_blocks", "msg_blocks_too_long", "invalid_blocks_format"})


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the bot is in its workspace."""

    team: str
    user: str
    bot: str
    name: str
    workspace: str = ""  #: for showing


@dataclass(frozen=True, kw_only=True)
class Member:
    """Somebody in Slack, as far as it matters for what they may do."""

    id: str
    name: str
    team: str
    handle: str = ""  #: unlike the name, nobody else in the workspace has it
    bot: bool = False
    deactivated: bool = False
    guest: bool = False
    external: bool = False


@dataclass(frozen=True, kw_only=True)
class Said:
    """A message of a thread."""

    ts: str
    author: str  #: Slack id of a person, empty for a bot
    text: str
    mark: tuple[int, str] | None = None  #: run (0: none) and slot, on the bot's own


@dataclass(kw_only=True)
class Slack:
    api: SlackApi
    post_gap: float = 1.0  #: Slack allows about one message a second and channel
    edit_gap: float = 1.0
    settle: float = 2.0  #: seconds until Slack shows a file that was uploaded
    canaries: Canaries = field(default_factory=Canaries)  #: what no message may carry
    _paces: dict[tuple[str, str], Pace] = field(default_factory=dict[tuple[str, str], Pace])

    async def identity(self) -> Identity:
        """Raises `SettingsError` when the token is not good."""
        try:
            answer = await self.api.patiently("auth.test", {})
        except SlackRejected as error:
            if error.code in _BAD_TOKEN:
                raise SettingsError(
                    f"SLACK_BOT_TOKEN is refused by Slack ({error.code}): copy the bot token of "
                    "the installed app again."
                ) from error
            raise
        return Identity(
            team=answer["team_id"],
            user=answer["user_id"],
            bot=answer.get("bot_id", ""),
            name=answer.get("user", "agent"),
            workspace=answer.get("team", ""),
        )

    # --- messages

    async def post(
        self,
        thread: Thread,
        message: Message,
        *,
        mark: tuple[RunId, str] | None = None,
        priority: int = DECISION,
        sure: Callable[[], None] | None = None,
    ) -> str:
        """Posts once: when the answer is lost, the thread is read back for the mark first. The
        channel may be a person's id, and the thread none: a direct message. `sure`: asked right
        before each call, and raises where it must not be made any more."""
        arguments: Json = {
            "channel": thread.channel,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if thread.ts:
            arguments["thread_ts"] = thread.ts
        if mark:
            arguments["metadata"] = _metadata(mark)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self._send("chat.postMessage", arguments, message, priority, sure)
                return str(answer["ts"])
            except Doubtful as doubt:
                await self.api.back_off(attempt)
                if mark and (ts := await self.find(thread, mark)):
                    return ts
                log.info("post_repeated", extra={"attempt": attempt, "reason": str(doubt)})
        raise SlackUnavailable("Slack does not take messages at the moment.")

    async def edit(
        self,
        channel: str,
        ts: str,
        message: Message,
        *,
        mark: tuple[RunId, str] | None = None,
        sure: Callable[[], None] | None = None,
    ) -> None:
        """Raises `SlackRejected`, for example with `message_not_found`."""
        arguments: Json = {"channel": channel, "ts": ts}
        if mark:
            arguments["metadata"] = _metadata(mark)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._send("chat.update", arguments, message, PROGRESS, sure)
                return
            except Doubtful:
                await self.api.back_off(attempt)
        raise SlackUnavailable("Slack does not take edits at the moment.")

    async def delete(self, channel: str, ts: str, *, sure: Callable[[], None]) -> None:
        """A message of the bot's own. Raises `SlackRejected`, `Unavailable`."""
        sure()
        await self.api.patiently("chat.delete", {"channel": channel, "ts": ts})

    async def tell(
        self, channel: str, user: str, thread_ts: str | None, message: str | Message
    ) -> bool:
        """Shows something to one person only. Best effort; False: Slack does not answer."""
        if isinstance(message, str):
            message = Message(text=message)
        if self.canaries.found(message.rendering):
            message = Message(text=WITHHELD)
        arguments: Json = {"channel": channel, "user": user, "text": message.text}
        if message.blocks:
            arguments["blocks"] = list(message.blocks)
        if thread_ts:
            arguments["thread_ts"] = thread_ts
        try:
            await self.api.patiently("chat.postEphemeral", arguments)
        except (SlackRejected, Unavailable) as error:
            log.warning("ephemeral_lost", extra={"channel": channel, "reason": str(error)})
            return isinstance(error, SlackRejected)
        return True

    async def find(self, thread: Thread, mark: tuple[RunId, str]) -> str | None:
        """The message that carries the mark, if it stands in the thread or, where that is none,
        among the newest of the channel."""
        where = self.thread(thread.channel, thread.ts) if thread.ts else self.newest(thread.channel)
        async for said in where:
            if said.mark == mark:
                return said.ts
        return None

    async def thread(self, channel: str, ts: str) -> AsyncIterator[Said]:
        """The messages of a thread, oldest first."""
        cursor = ""
        while True:
            arguments = {"channel": channel, "ts": ts, "limit": 200, "include_all_metadata": True}
            if cursor:
                arguments["cursor"] = cursor
            answer = await self.api.patiently("conversations.replies", arguments, get=True)
            for message in answer.get("messages", []):
                yield _said(message)
            cursor = record(answer.get("response_metadata")).get("next_cursor", "")
            if not cursor:
                return

    async def newest(self, channel: str) -> AsyncIterator[Said]:
        """What was last said in a channel outside of threads, newest first."""
        arguments = {"channel": channel, "limit": _NEWEST, "include_all_metadata": True}
        answer = await self.api.patiently("conversations.history", arguments, get=True)
        for message in answer.get("messages", []):
            yield _said(message)

    async def upload(self, name: str, content: bytes) -> str:
        """Slack's id of a file that a message can show. Raises `SlackUnavailable`,
        `SlackRejected`."""
        asked = {"filename": name, "length": len(content)}
        place = await self.api.patiently("files.getUploadURLExternal", asked, get=True)
        await self.api.put(place["upload_url"], content)
        files = [{"id": place["file_id"], "title": name}]
        await self.api.patiently("files.completeUploadExternal", {"files": files})
        await asyncio.sleep(self.settle)
        return str(place["file_id"])

    # --- reactions, sessions, modals, people

    async def react(self, channel: str, ts: str, name: str) -> None:
        await self._try("reactions.add", {"channel": channel, "timestamp": ts, "name": name})

    async def unreact(self, channel: str, ts: str, name: str) -> None:
        await self._try("reactions.remove", {"channel": channel, "timestamp": ts, "name": name})

    async def set_session(self, thread: Thread, status: str, title: str) -> None:
        """The native working state with its Stop button. Best effort."""
        await self._try(
            "agents.sessions.setStatus",
            {
                "channel_id": thread.channel,
                "thread_ts": thread.ts,
                "status": status,
                "title": title[:200],
            },
        )

    async def open_modal(self, trigger: str, view: Mapping[str, Any]) -> None:
        await self.api.patiently("views.open", {"trigger_id": trigger, "view": dict(view)})

    async def member(self, user: str) -> Member:
        """Asked anew each time: what somebody may do can change between two clicks."""
        found = (await self.api.patiently("users.info", {"user": user}, get=True))["user"]
        profile = record(found.get("profile"))
        return Member(
            id=user,
            name=profile.get("display_name") or found.get("real_name") or found.get("name", user),
            team=found.get("team_id", ""),
            handle=found.get("name", ""),
            bot=bool(found.get("is_bot")) or user == "USLACKBOT",
            deactivated=bool(found.get("deleted")),
            guest=bool(found.get("is_restricted") or found.get("is_ultra_restricted")),
            external=bool(found.get("is_stranger")),
        )

    # --- the wire

    async def _send(
        self,
        method: str,
        arguments: Json,
        message: Message,
        priority: int,
        sure: Callable[[], None] | None,
    ) -> Mapping[str, Any]:
        """Falls back to simpler blocks where Slack refuses the richer ones."""
        pace = self._pace(method, arguments["channel"])
        if self.canaries.found(message.rendering):
            log.error("message_withheld", extra={"method": method})
            message = Message(text=WITHHELD)
        for content in _simpler(message):
            async with pace.turn(priority):
                try:
                    told = arguments | _content(content)
                    return await self.api.call(method, told, pace=pace, sure=sure)
                except SlackRejected as error:
                    if error.code not in _TOO_MUCH or not content.blocks:
                        raise
                    log.warning("blocks_refused", extra={"method": method, "code": error.code})
        raise SlackRejected(method, "invalid_blocks")

    async def _try(self, method: str, arguments: Json) -> None:
        """Decoration: a failure is logged, and changes nothing."""
        try:
            await self.api.patiently(method, arguments)
        except SlackRejected as error:
            if error.code not in {"already_reacted", "no_reaction"}:
                log.info("decoration_refused", extra={"method": method, "code": error.code})
        except Unavailable:
            log.info("decoration_lost", extra={"method": method})

    def _pace(self, method: str, channel: str) -> Pace:
        gap = self.post_gap if method == "chat.postMessage" else self.edit_gap
        return self._paces.setdefault((method, channel), Pace(gap=gap))


def _simpler(message: Message) -> list[Message]:
    """The message, and what is left of it without the blocks that Slack may refuse."""
    contents = [message]
    for block_type in ("plan", "image"):
        content = contents[-1].without(block_type)
        if content != contents[-1]:
            contents.append(content)
    return [*contents, Message(text=message.text)]


def _content(message: Message) -> Json:
    return {
        "text": message.text,
        "blocks": list(message.blocks),
        "parse": "none",
        "link_names": False,
    }


def _metadata(mark: tuple[RunId, str]) -> Json:
    return {"event_type": METADATA, "event_payload": {"run": mark[0], "slot": mark[1]}}


def _said(message: Mapping[str, Any]) -> Said:
    metadata = record(message.get("metadata"))
    mark = None
    if metadata.get("event_type") == METADATA:
        payload = record(metadata.get("event_payload"))
        mark = (int(payload.get("run", 0)), str(payload.get("slot", "")))
    author = "" if message.get("bot_id") else message.get("user", "")
    return Said(ts=message["ts"], author=author, text=message.get("text", ""), mark=mark)
