"""Text of people and models on its way to GitLab and into git: it may say anything, and do nothing.

GitLab carries out lines that begin with `/` as the one who posts them, closes issues on certain
words, notifies whoever is named, fetches images and draws diagrams. None of that may come from
text that is not ours.
"""

from __future__ import annotations

import re
import textwrap

from agent.run import Person, Request, RunId

_NEWLINES = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
#: Control characters, and those that reorder or hide text.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff]"
)
_JOINER = "\u2060"  # shows nothing, and ends what GitLab takes for a reference
_REFERENCE = re.compile(r"([@#!&~%$^])(?=[\w\"'*])")
_CLOSES = re.compile(
    r"\b(clos|fix|resolv|implement)(?=\w*:?\s+(?:\w+\s+)?(?:https?:|[\w./-]*[#!]|[A-Z]\w*-\d))",
    re.IGNORECASE,
)
_LINK = re.compile(r"\]\s*([(\[])")
_JIRA = re.compile(r"\b([A-Z][A-Z0-9_]+)-(?=\d)")
_FENCE = re.compile(r"^([\s>]*(?:`{3,}|~{3,}))\s*([^\s`]*).*$")
#: Languages that are only coloured. Others (mermaid, plantuml, math …) are drawn, some by a server.
_COLOURED = re.compile(
    "bash|c|console|cpp|css|diff|go|html|ini|java|javascript|js|json|kotlin|php|py|python|rb|ruby|"
    "rust|sh|shell|sql|text|toml|ts|typescript|xml|yaml|yml"
)
_SKIP_CI = re.compile(
    r"\[\s*(?:(?:ci|actions|pipeline)[\s_.-]*(?:skip|no)|(?:skip|no)[\s_.-]*(?:ci|actions|pipeline))"
    r"\s*\]|\*\*\*\s*NO_CI\s*\*\*\*",
    re.IGNORECASE,
)
_OUR_TRAILER = re.compile(r"^\s*(requested-by|agent-run)\s*:", re.IGNORECASE)


def gitlab_text(text: str, *, limit: int = 4000) -> str:
    """Markdown of several lines that shows as it is and has no effect."""
    return "\n".join(_inert_line(line) for line in _lines(_cut(text, limit)))


def gitlab_quote(text: str, *, limit: int = 4000) -> str:
    """The same as a quotation, which no code fence or list of the text's own can leave."""
    lines = gitlab_text(text, limit=limit).strip("\n").split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


def gitlab_line(text: str, *, limit: int = 200) -> str:
    """One line, fit for a title, a list item or a cell of a table."""
    line = " ".join(" ".join(_lines(text)).split())
    return _inert_line(_cut(line, limit)).replace("|", "&#124;").replace("`", "'")


def gitlab_title(text: str, *, prefix: str = "Draft: ", limit: int = 255) -> str:
    """Titles are shown as they are: no entities, no markup."""
    line = _no_reference(" ".join(" ".join(_lines(text)).split()).lstrip("/"))
    line = _SKIP_CI.sub("", line).strip() or "Change without a title"
    return prefix + _cut(line, limit - len(prefix))


def plain_title(text: str, *, limit: int = 255) -> str:
    """The same without a word before it, and not called a draft."""
    bare = re.sub(r"^(\s*(\[draft\]|\(draft\)|draft:)\s*)+", "", text, flags=re.IGNORECASE)
    return gitlab_title(bare, prefix="", limit=limit)


def commit_message(
    request: Request, run: RunId, summary: str, *, public_url: str = "", subject: str = ""
) -> str:
    """Subject and body in the model's words, then who asked and which run it was."""
    lines = [_plain_line(line) for line in _lines(_cut(summary, 4000))]
    lines = [line for line in lines if not _OUR_TRAILER.match(line)]
    while lines and not lines[0]:
        del lines[0]
    title = _plain_line(" ".join(_lines(subject)))
    if not title:
        source = " ".join(lines[:1]) or _plain_line(" ".join(_lines(request.text)))
        title, rest = _subject(source)
        lines = [*([rest] if rest else []), *lines[1:]]
    title = (
        textwrap.shorten(_OUR_TRAILER.sub("", title), 72, placeholder=" …").rstrip(".")
        or "Change the project"
    )
    # a break may put a slash at the beginning of a line, where it was none before
    body = "\n".join(part.lstrip("/") for line in lines for part in textwrap.wrap(line, 72) or [""])
    body = body.strip("\n")
    page = f"{public_url.rstrip('/')}/runs/{run}" if public_url else str(run)
    trailers = f"Requested-by: {who(request.requester)}\nAgent-Run: {page}"
    return "\n\n".join(part for part in (title, body, trailers) if part) + "\n"


def who(person: Person) -> str:
    """For example "Ada Lovelace (ada)"; the identifier is the fact, the name is for reading."""
    name = _plain_line(" ".join(_lines(person.name))).translate(
        {ord(c): None for c in "<>()[]|*_`:"}
    )
    identifier = _plain_line(person.gitlab_username or person.id)
    return f"{' '.join(name.split())[:80]} ({identifier})".strip()


def _subject(source: str) -> tuple[str, str]:
    """A first sentence that fits a subject, and what is left of the line for the body."""
    sentence = re.match(r"(.{10,71}?)[.:;]\s+(.+)", source)
    if len(source) <= 72:
        return source, ""
    return (sentence[1], sentence[2]) if sentence else (source, source)


def _lines(text: str) -> list[str]:
    return [_HIDDEN.sub("", line).replace("\t", "    ") for line in _NEWLINES.split(text)]


def _inert_line(line: str) -> str:
    fence = _FENCE.match(line)
    if fence:
        language = fence[2].lower()
        line = fence[1] + (language if _COLOURED.fullmatch(language) else "")
    line = _no_reference(line).replace("<", "&lt;").replace("![", "! [")
    line = _LINK.sub(r"]\\\1", line)  # a link shows where it leads, or it is none
    line = re.sub(r"^(\s*(?:> ?)*)\[(?=[^\]]*\]:)", r"\1\\[", line)
    line = re.sub(r"\[\[?_TOC_\]?\]", "TOC", line, flags=re.IGNORECASE)
    return re.sub(r"^(\s*)/", r"\1\\/", line)


def _no_reference(line: str) -> str:
    line = _CLOSES.sub(lambda found: found[1][0] + _JOINER + found[1][1:], line)
    line = _JIRA.sub(rf"\1{_JOINER}-", line)
    return _REFERENCE.sub(rf"\1{_JOINER}", line)


def _plain_line(line: str) -> str:
    """For git, where a hidden character would be a nuisance: what would be a reference is bare."""
    line = _SKIP_CI.sub("", line)
    line = re.sub(r"[@#!&~%$^](?=\w)", "", line)
    line = re.sub(
        r"\b((?:clos|fix|resolv|implement)\w*:?\s+)(?=https?:)", r"\1see ", line, flags=re.I
    )
    line = _JIRA.sub(r"\1 ", line)
    return re.sub(r"^\s*/+", "", line).rstrip()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 2].rstrip() + " …"
