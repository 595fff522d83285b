"""What the model is told of a red pipeline: computed from the log and the work tree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from agent.errors import ToolFailed
from agent.events import FixStarted, JobRehearsed, PipelineTriaged
from agent.files import WorkspaceFiles
from agent.grounding import ground_repair
from agent.pipeline import Blame, Triage
from agent.prompt import clean, cut, fill, one_line
from agent.testreport import TestCase
from agent.work import Work

LOGS = 12_000  #: characters of all jobs' logs together
SCRIPT = 1_500  #: of a job's commands
TESTS = 5_000
OUTPUT = 6_000  #: of a rehearsal
LOOKED_FOR = 3_000  #: characters of a job's log that places are looked for with
PLACES = 6  #: pieces of code that are shown
REACH = 6  #: lines before and after
LARGEST = 1 << 20  #: bytes of a file whose lines are shown

#: Each alternative begins where a name does, and is bounded: a log may be one long name.
_PLACE = re.compile(
    r'(?:File "(?P<quoted>[^"\n]{1,300})", line (?P<line>\d{1,9}))'
    r"|(?<![\w@.+/-])(?P<path>[\w@.+/-]{1,300})[:(](?P<number>\d{1,9})"
)
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,7}\Z")


async def fix_words(work: Work, fix: FixStarted) -> str:
    triaged = _triaged(work, fix)
    jobs = [each for each in triaged.jobs if each.blame is Blame.OURS] if triaged else []
    tests = triaged.tests if triaged else ()
    files = (await work.desk()).files
    seen = work.state.pipeline
    room = LOGS // max(len(jobs), 1)
    code = _code(files, _named([each.excerpt for each in jobs], tests))

    def records(mark: str) -> tuple[str, str, str]:
        logs = "\n".join(_job(each, mark, room) for each in jobs)
        return logs, _tests(tests, mark), _shown(code, mark)

    logs, failing, shown = records(_mark(work, records("")))
    return fill(
        "fix.md",
        commit=seen.commit[:12] if seen else "",
        attempt=fix.attempt,
        attempts=fix.attempts,
        jobs=logs,
        tests=failing,
        code=shown,
        places=await ground_repair(work, _failed(jobs, tests)),
    )


async def rehearsal_words(work: Work, tried: JobRehearsed) -> str:
    output = (await work.journal.body(tried.output)).decode("utf-8", "replace")
    mark = _mark(work, (tried.tree, tried.job, output))
    hint = "Run the commands with `run` to see all of it."
    return (
        f"Before the push the commands of job `{one_line(tried.job)[:60]}` were tried in the "
        f"sandbox on your fix: exit {tried.exit_code}.\nRECORD {mark} what they printed\n"
        f"{cut(clean(output).strip(), OUTPUT, hint)}\nEND RECORD {mark}\n"
        "If the fix is to blame, repair it. If the sandbox is (no network, something that only "
        "the runner has), say so. Then `finish` again: it is pushed then, whatever they say."
    )


def places(text: str) -> list[tuple[str, int]]:
    """Files and lines that a log names, in order, each once."""
    found: dict[tuple[str, int], None] = {}
    for match in _PLACE.finditer(text):
        path = match["quoted"] or match["path"]
        if match["quoted"] or _SUFFIX.search(path[-9:]):
            found[path, int(match["line"] or match["number"])] = None
    return list(found)


def _mark(work: Work, records: Sequence[str]) -> str:
    """Made of all that stands between the marks: a job that wants to print its own would change it
    by that. A worker that takes over says the same."""
    told = f"{work.state.run}:{[*records]}"
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:16]


def _triaged(work: Work, fix: FixStarted) -> PipelineTriaged | None:
    for event in reversed(work.journal.events):
        match event.payload:
            case PipelineTriaged(pipeline=number) as triaged if number == fix.pipeline:
                return triaged
            case _:
                pass
    return None


def _job(judged: Triage, mark: str, room: int) -> str:
    name = one_line(judged.job.name)[:60]
    script = cut("\n".join(clean(line) for line in judged.script), SCRIPT)
    commands = (
        f"Its commands:\nRECORD {mark} commands of `{name}`\n{script}\nEND RECORD {mark}\n"
        if script
        else "Its commands are not known.\n"
    )
    log = cut(judged.excerpt, room) or "(nothing of its log could be read)"
    return (
        f"Job `{name}`: {judged.sentence}\n{commands}"
        f"RECORD {mark} log of `{name}`\n{log}\nEND RECORD {mark}\n"
    )


def _tests(tests: Sequence[TestCase], mark: str) -> str:
    if not tests:
        return ""
    told = "\n\n".join(f"{case.status.upper()} {case.id}\n{case.message}".strip() for case in tests)
    return f"RECORD {mark} failing tests\n{cut(clean(told), TESTS)}\nEND RECORD {mark}\n"


def _failed(jobs: Sequence[Triage], tests: Sequence[TestCase]) -> str:
    """What to look for: a test says more than a job's log, of which the end says most."""
    told = "\n".join(f"{case.id}\n{case.message}" for case in tests)
    return f"{told}\n" + "\n".join(each.excerpt[-LOOKED_FOR:] for each in jobs)


def _named(logs: Iterable[str], tests: Sequence[TestCase]) -> list[tuple[str, int]]:
    named = [(case.path, case.line) for case in tests if case.path and case.line]
    for text in (*logs, *(case.message for case in tests)):
        named += places(text)
    return list(dict.fromkeys(named))


def _code(files: WorkspaceFiles, named: Sequence[tuple[str, int]]) -> str:
    """Around the named lines, as the files are now; places outside the project are left out."""
    parts: list[str] = []
    shown: list[tuple[str, int]] = []
    for name, line in named:
        if len(parts) == PLACES:
            break
        path = _here(files, name)
        if path is None or any(path == p and abs(line - n) <= REACH for p, n in shown):
            continue
        if part := _around(files, path, line):
            parts.append(f"{one_line(path)}:\n{part}")
            shown.append((path, line))
    return "\n\n".join(parts)


def _shown(code: str, mark: str) -> str:
    if not code:
        return ""
    return (
        "\nCode that is named there, as it is now:\n"
        f"RECORD {mark} code\n{code}\nEND RECORD {mark}\n"
    )


def _here(files: WorkspaceFiles, name: str) -> str | None:
    """A job's paths begin with wherever its runner had put the project."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    for start in range(min(len(parts), 8)):
        path = "/".join(parts[start:])
        try:
            if files.exists(path):
                return path
        except ToolFailed:
            return None
    return None


def _around(files: WorkspaceFiles, path: str, line: int) -> str:
    try:
        text = files.read(path, LARGEST).decode("utf-8", "replace")
    except ToolFailed:
        return ""
    lines = clean(text).splitlines()
    if not 0 < line <= len(lines):
        return ""
    first = max(1, line - REACH)
    near = enumerate(lines[first - 1 : line + REACH], first)
    return "\n".join(f"{'>' if n == line else ' '}{n:5} {text[:200]}" for n, text in near)
