"""Each tool on a real work tree, as the model sees its answer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.errors import ToolFailed
from agent.files import WorkspaceFiles
from agent.outputs import Outputs
from agent.plan import Plan, PlanStep
from agent.ports import Box, CommandResult
from agent.project import ProjectSettings
from agent.run import Limits, Person, Request, RunId, Thread
from agent.state import RunState
from agent.tools import BY_NAME
from agent.tools.base import Arguments, ToolContext, ToolOutcome
from agent.tools.search import Match, rank, tokens

REQUEST = Request(
    text="x",
    project="p",
    base_branch=None,
    requester=Person(id="U1", name="mia"),
    thread=Thread(team="T", channel="C", ts="1"),
    message="1",
)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
STATE = RunState(
    run=RunId(1), request=REQUEST, limits=Limits(), accepted_at=NOW, updated_at=NOW,
    plan=Plan(steps=(PlanStep(title="Do it"),), files=("a.py",)),
)  # fmt: skip
FILES = {
    "src/invoice.py": "class Invoice:\n    def export_csv(self):\n        return 'csv'\n",
    "src/store.py": "def issued():\n    return []\n\n\ndef get():\n    return None\n",
    "src/deep/invoice_view.py": "VIEW = 1\n",
    "docs/invoice.md": "# Export\nThe invoice is exported.\n",
    "node_modules/invoice/index.js": "invoice\n",
    "crlf.txt": "one\r\ntwo\r\nthree\r\n",
    "latin.txt": "caf\udce9 one\n",
    "odd name: 1.txt": "needle here\n",
}


@pytest.fixture(scope="module")
def roomy() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="journeyman-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Desk:
    """The tools on one work tree."""

    def __init__(self, root: Path, context: ToolContext) -> None:
        self.root = root
        self.context = context

    def box(self, box: Box) -> None:
        self.context = replace(self.context, box=box)

    async def use(self, name: str, **arguments: object) -> ToolOutcome:
        return await BY_NAME[name].act(self.context, Arguments(arguments))


@pytest.fixture
async def desk(roomy: Path) -> AsyncIterator[Desk]:
    sandbox = BubblewrapSandbox(roomy)
    folder = sandbox.new_folder("desk")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    sandbox.adopt(folder)
    async with sandbox.open(folder) as box:
        context = ToolContext(
            state=STATE,
            project=ProjectSettings(path="p", output=2_000),
            files=WorkspaceFiles(folder),
            box=box,
            harness=None,  # pyright: ignore[reportArgumentType]
            outputs=Outputs(sandbox.new_folder("output")),
            answer=None,
        )
        yield Desk(folder, context)
    await sandbox.remove(folder)


async def test_search_finds_lines_and_leaves_dependencies_out(desk: Desk):
    found = await desk.use("search", query="invoice")
    assert found.output == "docs/invoice.md:2: The invoice is exported."
    assert (await desk.use("search", query="def (get|issued)")).output.splitlines() == [
        "src/store.py:1: def issued():",
        "src/store.py:5: def get():",
    ]
    odd = await desk.use("search", query="needle", path="/workspace")
    assert odd.output == "odd name: 1.txt:1: needle here"


async def test_search_stays_in_a_folder_and_says_when_nothing_is_there(desk: Desk):
    assert "Nothing found" in (await desk.use("search", query="issued", path="docs")).output
    assert (await desk.use("search", query="-x --foo")).summary == "text '-x --foo': nothing found"
    with pytest.raises(ToolFailed, match="regular expression"):
        await desk.use("search", query="(")
    with pytest.raises(ToolFailed, match="No such file"):
        await desk.use("search", query="x", path="nowhere")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (r"count\d+", ["count12"]),
        ("(?i)COUNT1", ["count12"]),
        (r"\<count12\>", ["count12"]),
        (r"\bcoun\b", []),
        ("(?:count|x)[\\d]{2}", ["count12"]),
        ("count(?=1)", ["count12"]),
        (r"price = .*?;", ["caf"]),
        ("caf.+price", ["caf"]),
        ("größe", ["größe"]),
    ],
)
async def test_search_reads_an_expression_as_other_tools_do(
    desk: Desk, query: str, found: list[str]
):
    desk.root.joinpath("odd").mkdir()
    lines = [b"count12\n", b"caf\xe9 price = 1;\n", "größe\n".encode(), b"countd\n"]
    for number, line in enumerate(lines):
        desk.root.joinpath(f"odd/{number}.txt").write_bytes(line)
    told = (await desk.use("search", query=query, path="odd")).output.splitlines()
    texts = [line.split(": ", 1)[-1] for line in told if line.startswith("odd/")]
    assert len(texts) == len(found), told
    assert all(text.startswith(word) for text, word in zip(texts, found, strict=True))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (r"\bcafé\b", ["café au lait"]),
        (r"(?=c)\bcafé\b", ["café au lait"]),
        ("na[iï]ve", ["naïve", "naive"]),
        ("(?i)GRÖ(ß|SS)E", ["größe"]),
        ("naive\ngr", ["größe", "naive"]),
        (r"Vec\<u8\>", ["Vec<u8>"]),
    ],
)
async def test_search_reads_letters_of_other_languages_and_brackets(
    desk: Desk, query: str, found: list[str]
):
    text = "café au lait\ncafés\ngrößen\ngröße\nnaïve\nnaive\nVec<u8>\n"
    (desk.root / "words.txt").write_text(text.replace("größen\n", ""))
    told = (await desk.use("search", query=query, path="words.txt")).output.splitlines()
    assert sorted(line.split(": ", 1)[-1] for line in told) == sorted(found)


async def test_a_line_that_perl_gives_up_on_loses_no_other_hit(desk: Desk):
    long = "a" * 60_000
    (desk.root / "min.js").write_text(f"needle one\nneedle {long}!\n")
    told = await desk.use("search", query="needle (one|(?=(a+)+!!))", path="min.js")
    first, *missing = told.output.splitlines()
    assert first == "min.js:1: needle one"
    assert missing[0].startswith("[not read: min.js (a line takes this expression too long;")
    assert told.summary.endswith("1 found, not everything was read")
    told = await desk.use("search", query="needle (?:one|(a+)+?!!)", path="min.js")
    assert told.output == "min.js:1: needle one", "that takes no Perl"


async def test_a_file_that_cannot_be_read_loses_no_hit(desk: Desk):
    await desk.use("write", path="shut.py", content="issued\n")
    box = desk.context.box
    await box.exec(["sh", "-c", "umask 777; touch /workspace/closed.py"])
    told = (await desk.use("search", query="issued")).output.splitlines()
    assert set(told[:-1]) == {"src/store.py:1: def issued():", "shut.py:1: issued"}
    assert told[-1] == "[not read: closed.py (Permission denied)]"


class Stopping:
    """A box that ends each command before it is done."""

    def __init__(self, stopped: Literal["timeout", "memory"], output: str) -> None:
        self._stopped: Literal["timeout", "memory"] = stopped
        self._output = output

    async def exec(self, argv: Sequence[str], **_: object) -> CommandResult:
        return CommandResult(
            exit_code=137,
            output=self._output,
            total_bytes=len(self._output),
            seconds=30,
            stopped=self._stopped,
        )


@pytest.mark.parametrize("mode", ["text", "names", "ranked", "defined"])
async def test_a_search_that_was_stopped_does_not_say_that_nothing_is_there(desk: Desk, mode: str):
    desk.box(Stopping("timeout", ""))
    told = await desk.use("search", query="invoice", mode=mode)
    assert told.output == "[stopped after 30 s: not everything was read]"
    assert told.summary == f"{mode} 'invoice': nothing found, not everything was read"
    line = "./a/invoice.py" if mode == "names" else "./a/invoice.py:3:class Invoice"
    desk.box(Stopping("memory", f"{line}\n" * (61 if mode in ("names", "text") else 1)))
    told = await desk.use("search", query="invoice", mode=mode)
    first, *_, last = told.output.splitlines()
    assert first.startswith("a/invoice.py")
    assert last == "[stopped by the sandbox (memory): not everything was read]"


@pytest.mark.parametrize("mode", ["text", "names"])
async def test_a_query_that_no_command_can_hold_is_refused(desk: Desk, mode: str):
    with pytest.raises(ToolFailed, match=r"zero byte|nothing"):
        await desk.use("search", query="x", path="a\0b", mode=mode)
    with pytest.raises(ToolFailed, match="at most 1,000"):
        await desk.use("search", query="[" * 100_000, mode=mode)


async def test_a_folder_that_is_left_out_is_looked_into_when_it_is_named(desk: Desk):
    desk.root.joinpath("vendor").mkdir()
    desk.root.joinpath("vendor/lib.py").write_text("hidden_treasure = 1\n")
    assert "only when `path` names one" in (await desk.use("search", query="hidden_tr")).output
    for mode, query in (("text", "hidden_treasure"), ("names", "lib")):
        for path in ("vendor", "./vendor/", "/workspace/vendor"):
            told = await desk.use("search", query=query, path=path, mode=mode)
            assert told.output.startswith("vendor/lib.py"), (mode, path)


async def test_search_says_that_it_shows_a_part_of_a_file(desk: Desk):
    (desk.root / "many.txt").write_text("needle\n" * 41)
    (desk.root / "all.txt").write_text("needle\n" * 3)
    found = await desk.use("search", query="^needle$")
    assert found.summary == "text '^needle$': 43 found"
    shown = [row for row in found.output.splitlines() if row.startswith("many.txt:")]
    assert len(shown) == 41
    assert shown[-1] == "many.txt: [… more in this file. Narrow the query.]"
    assert sum(row.startswith("all.txt:") for row in found.output.splitlines()) == 3


async def test_search_by_name_takes_words_and_globs(desk: Desk):
    found = await desk.use("search", query="invoice", mode="names")
    assert found.output.splitlines() == [
        "docs/invoice.md",
        "src/invoice.py",
        "src/deep/invoice_view.py",
    ]
    found = await desk.use("search", query="src/*.py", mode="names")
    assert found.output.splitlines() == ["src/invoice.py", "src/store.py"]


async def test_ranked_search_puts_rare_words_close_together_first(desk: Desk):
    found = await desk.use("search", query="where is exportCSV of an Invoice", mode="ranked")
    assert found.output.splitlines()[0] == "src/invoice.py:2: def export_csv(self):"


def test_identifiers_are_split_into_their_words():
    assert tokens("exportCSV_file HTTPServer2 x") == [
        "export",
        "csv",
        "file",
        "http",
        "server",
        "2",
        "x",
    ]


def test_a_word_that_is_everywhere_weighs_little():
    common = [Match(path=f"f{n}.py", line=1, text="import os") for n in range(20)]
    rare = Match(path="z.py", line=9, text="import ledger")
    assert rank([*common, rare], ["import", "ledger"])[0] == rare


async def test_read_numbers_lines_and_tells_how_to_go_on(desk: Desk):
    seen = await desk.use("read", path="src/store.py", start=5)
    assert seen.output == "5\tdef get():\n6\t    return None"
    assert seen.summary == "src/store.py:5-6"
    seen = await desk.use("read", path="/workspace/src/store.py", start=1, end="2")
    assert seen.output.splitlines()[-1] == "[… 6 lines in all; go on with start=3]"
    (desk.root / "long").write_text("x" * 90 + "\n" + "y" * 90 + "\n" * 400)
    long = await desk.use("read", path="long")
    assert len(long.output) < 2_600
    assert "go on with start=" in long.output


async def test_read_lists_folders_and_refuses_what_is_not_there(desk: Desk):
    assert (await desk.use("read", path="src")).output.splitlines() == [
        "deep/",
        "invoice.py",
        "store.py",
    ]
    assert "node_modules/" in (await desk.use("read", path=".")).output
    (desk.root / "data").write_bytes(b"\0\1\2")
    assert (await desk.use("read", path="data")).output == "data is a binary file of 3 bytes."
    with pytest.raises(ToolFailed, match=r"missing.py does not exist"):
        await desk.use("read", path="missing.py")
    with pytest.raises(ToolFailed, match="outside the workspace"):
        await desk.use("read", path="../../etc/passwd")


async def test_edit_replaces_exactly_one_place(desk: Desk):
    done = await desk.use("edit", path="src/store.py", old="return []", new="return [1]")
    assert done.output == "Edited src/store.py at line 2."
    assert "return [1]" in (desk.root / "src/store.py").read_text()


async def test_edit_counts_the_lines_that_changed_and_not_those_that_show_the_place(desk: Desk):
    old = "def issued():\n    return []\n"
    done = await desk.use("edit", path="src/store.py", old=old, new=f"import os\n\n{old}")
    assert done.summary == "src/store.py:1 +2 −0"
    done = await desk.use("edit", path="src/store.py", old="return []", new="return [1]")
    assert done.summary == "src/store.py:4 +1 −1"


async def test_edit_says_why_it_cannot(desk: Desk):
    with pytest.raises(ToolFailed, match=r"2 times \(lines 1, 5\)"):
        await desk.use("edit", path="src/store.py", old="def ", new="async def ")
    with pytest.raises(ToolFailed, match=r"Line 1 is nearest: def issued\(\):"):
        await desk.use("edit", path="src/store.py", old="def isued():", new="x")
    with pytest.raises(ToolFailed, match="first line stands at line 2"):
        await desk.use("edit", path="src/store.py", old="\treturn []\n\n", new="x")
    with pytest.raises(ToolFailed, match="is empty"):
        await desk.use("edit", path="src/store.py", old="", new="x")
    with pytest.raises(ToolFailed, match="does not exist"):
        await desk.use("edit", path="none.py", old="a", new="b")


async def test_edit_keeps_line_ends_and_bytes_that_are_not_utf8(desk: Desk):
    await desk.use("edit", path="crlf.txt", old="one\ntwo", new="1\n2")
    assert (desk.root / "crlf.txt").read_bytes() == b"1\r\n2\r\nthree\r\n"
    await desk.use("edit", path="latin.txt", old="one", new="two")
    assert (desk.root / "latin.txt").read_bytes() == b"caf\xe9 two\n"


async def test_write_makes_folders_and_replaces(desk: Desk):
    done = await desk.use("write", path="new/place/a.py", content="a = 1\n")
    assert done.output == "Wrote new/place/a.py, 1 lines."
    await desk.use("write", path="new/place/a.py", content="")
    assert (desk.root / "new/place/a.py").read_text() == ""


async def test_a_plan_keeps_files_and_assumptions_that_are_not_repeated(desk: Desk):
    steps = [{"title": "Do\u202e it\nwell", "status": "complete", "note": "3 files"}]
    done = await desk.use("update_plan", steps=steps, assumptions=["all is well"])
    (made,) = done.payloads
    plan = made.plan  # pyright: ignore
    assert plan.steps[0].title == "Do it well"
    assert plan.files == ("a.py",)
    assert plan.assumptions == ("all is well",)
    assert done.summary == "1 of 1 steps done"
    with pytest.raises(ToolFailed, match="1 to 12 steps"):
        await desk.use("update_plan", steps=[])


async def test_a_question_has_at_most_four_choices(desk: Desk):
    with pytest.raises(ToolFailed, match="At most 4"):
        await desk.use("ask", question="Which?", choices=list("abcde"))
