"""What a person has said, as Slack delivers it."""

from __future__ import annotations

from dataclasses import dataclass

from agent.run import Thread
from bot.records import Json


@dataclass(frozen=True, kw_only=True)
class Words:
    """A message of a person."""

    team: str
    channel: str
    user: str
    ts: str
    text: str
    thread_ts: str | None = None
    direct: bool = False

    @classmethod
    def of(cls, body: Json) -> Words:
        event: Json = body["event"]
        return cls(
            team=body["team_id"],
            channel=event["channel"],
            user=event["user"],
            ts=event["ts"],
            text=event.get("text", ""),
            thread_ts=event.get("thread_ts"),
            direct=event.get("channel_type") == "im" or event["channel"].startswith("D"),
        )

    @property
    def thread(self) -> Thread:
        return Thread(team=self.team, channel=self.channel, ts=self.thread_ts or self.ts)
