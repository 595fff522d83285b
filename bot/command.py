"""What somebody wrote to the bot, as a `Command`. Pure."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from enum import StrEnum

from agent.errors import Refused


class Verb(StrEnum):
    START = "start"  # begin a run, or add instructions in a thread that has one
    NEW = "new"  # begin another run in this thread
    STOP = "stop"
    STATUS = "status"
    RETRY = "retry"
    HELP = "help"
    SETTINGS = "settings"
    MAINTENANCE = "maintenance"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    STOP_ALL = "stop all"
    ASIDE = "aside"  # between people; never read


@dataclass(frozen=True, kw_only=True)
class Command:
    verb: Verb
    text: str = ""  #: without mention, verb and options
    project: str | None = None
    branch: str | None = None
    model: str | None = None
    plan_only: bool = False
    everywhere: bool = False  #: of what concerns all runs: in every project


REASON = 300  #: characters
OPTIONS = ("project", "branch", "model", "plan")
_ALIASES = {"repo": "project"}
_WORDS = {
    "stop": Verb.STOP,
    "cancel": Verb.STOP,
    "abort": Verb.STOP,
    "status": Verb.STATUS,
    "retry": Verb.RETRY,
    "help": Verb.HELP,
    "settings": Verb.SETTINGS,
    "maintenance": Verb.MAINTENANCE,
}
#: The whole of what was said, but for its last mark: anything more may be a request.
_QUESTIONS = {
    Verb.STATUS: re.compile(
        r"(?:what(?:'s| is) (?:running|going on|happening|the status)"
        r"|what are you (?:doing|working on)|is (?:anything|something) running|any news"
        r"|how(?:'s| is) it going)(?: (?:now|right now|here|at the moment))?"
    ),
    Verb.HELP: re.compile(
        r"what can you do(?: for me)?|who are you|how do you work|how (?:do|can) i use you"
    ),
}
_KEY = "[a-z][a-z_]{1,14}"
_BRACKETS = re.compile(rf"\[((?:\s*{_KEY}=[^\s\[\]]+)+\s*)\]")
#: Code is matched first, so that nothing in it is taken for an option.
_OPTION = re.compile(rf"```.*?```|`[^`\n]*`|(?<!\S)({_KEY})=([^\s\[\]]+)(?!\S)", re.DOTALL)
_ENTITY = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")
_PROJECT = re.compile(r"[\w.-]+(?:/[\w.-]+)+")
_FOR_ALL = re.compile(
    r"(?:(?P<stop>stop\s+all)(?P<stop_everywhere>\s+everywhere)?"
    r"|(?P<verb>freeze|unfreeze)(?:[\s:,]+(?P<everywhere>everywhere))?(?:[\s:,]+(?P<reason>.*))?)",
    re.IGNORECASE | re.DOTALL,
)
_BRANCH = re.compile(r"(?!-)[^\s~^:?*\\\x00-\x1f]{1,200}")


def mentions(text: str, bot: str) -> bool:
    return f"<@{bot}>" in text or f"<@{bot}|" in text


def is_aside(text: str, bot: str) -> bool:
    """Between people: never read, neither as an answer nor as record."""
    return bool(re.match(r"!aside\b", _without_mention(text, bot)))


def parse(text: str, bot: str) -> Command:
    """Reads a message that mentions the bot, or was written to it directly.

    Raises `Refused` for an option that does not exist or makes no sense: never a guess.
    """
    if is_aside(text, bot):
        return Command(verb=Verb.ASIDE)
    said, options = _options(_without_mention(text, bot))
    if found := _FOR_ALL.fullmatch(said):
        return _for_all(found, options)
    if verb := _plain_verb(said):
        return Command(verb=verb)
    again = re.match(r"new\b[:,]?\s+(?=\S)", said, re.IGNORECASE)
    return Command(
        verb=Verb.NEW if again else Verb.START,
        text=said[again.end() :] if again else said,
        project=options.project,
        branch=options.branch,
        model=options.model,
        plan_only=options.plan_only,
    )


def _plain_verb(said: str) -> Verb | None:
    """None for what may be a request."""
    bare = " ".join(said.lower().replace("’", "'").rstrip("?!. ").split())
    if not bare:
        return Verb.HELP
    asked = (verb for verb, forms in _QUESTIONS.items() if forms.fullmatch(bare))
    return _WORDS.get(bare) or next(asked, None)


def _for_all(found: re.Match[str], options: _Options) -> Command:
    """Freeze, unfreeze and stop all: of the project meant, or everywhere."""
    verb = Verb.STOP_ALL if found["stop"] else Verb(found["verb"].lower())
    everywhere = bool(found["everywhere"] or found["stop_everywhere"])
    if options.branch or options.model or options.plan_only:
        raise Refused(f"{verb} takes no option but project=. Nothing was done.")
    if everywhere and options.project:
        raise Refused(f"{verb} takes either project= or `everywhere`. Nothing was done.")
    reason = " ".join((found["reason"] or "").split())[:REASON]
    return Command(verb=verb, text=reason, project=options.project, everywhere=everywhere)


def _without_mention(text: str, bot: str) -> str:
    return plain(re.sub(rf"<@{re.escape(bot)}(?:\|[^<>]*)?>", " ", text)).strip()


def plain(text: str) -> str:
    """Slack's mark-up as the words that people see."""

    def entity(match: re.Match[str]) -> str:
        kind, target, label = match.groups()
        if kind:
            return (
                f"{'' if kind == '!' and label else '#' if kind == '#' else '@'}{label or target}"
            )
        if not label or label == target or target.endswith(f"//{label}"):
            return target.removeprefix("mailto:")
        return f"{label} ({target})"

    return html.unescape(_ENTITY.sub(entity, text))


@dataclass(frozen=True, kw_only=True)
class _Options:
    project: str | None = None
    branch: str | None = None
    model: str | None = None
    plan_only: bool = False


def _options(said: str) -> tuple[str, _Options]:
    """The text without its options, and the options; the last one of a kind wins."""
    said = _BRACKETS.sub(lambda match: f" {match.group(1)} ", said)
    given: dict[str, str] = {}
    for match in _OPTION.finditer(said):
        if not match.group(1):
            continue
        key = _ALIASES.get(match.group(1), match.group(1))
        if key not in OPTIONS:
            raise Refused(
                f"I don't know the option {match.group(1)}=. "
                f"There are {', '.join(f'{name}=' for name in OPTIONS)}. Nothing was started; "
                "put the words in backticks if they were not meant for me."
            )
        given[key] = match.group(2)
    project, branch, plan = given.get("project"), given.get("branch"), given.get("plan")
    if project and not _PROJECT.fullmatch(project):
        raise Refused(f"project={project} is not a path like group/name. Nothing was started.")
    if branch and (not _BRANCH.fullmatch(branch) or ".." in branch):
        raise Refused(f"branch={branch} is not a name that git allows. Nothing was started.")
    if plan not in (None, "only"):
        raise Refused("plan= can only be plan=only. Nothing was started.")
    rest = _OPTION.sub(lambda match: " " if match.group(1) else match.group(0), said)
    rest = re.sub(r"[^\S\n]{2,}", " ", rest).strip()
    return rest, _Options(
        project=project, branch=branch, model=given.get("model"), plan_only=plan == "only"
    )
