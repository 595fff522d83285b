"""How many findings are called new although only the code around them was moved."""

from __future__ import annotations

import ast
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.maintenance.findings import Findings
from agent.maintenance.lint.identity import match, snapshot
from agent.maintenance.lint.parse import ruff
from agent.maintenance.night import Finding
from benchmarks.table import Row, Table, median

SAMPLE = Path(__file__).parent.parent / "playground" / "projects" / "invoices"
EDITS = 200
#: Rules about lines that do not depend on where the lines stand.
RULES = "ANN,ARG,B,BLE,D101,D102,D103,D107,EM,F,FBT,N,PLR,PTH,RET,S,SIM,T20,TRY,UP"

Tree = dict[str, str]  # path -> text
Edit = Callable[[random.Random, Tree, str], None]


@dataclass(frozen=True, kw_only=True)
class Night:
    edit: str
    findings: int
    new: Counter[tuple[str, str]]  #: reported, by rule and text of the line
    really: Counter[tuple[str, str]]  #: there are more of them than the night before
    by_line: int  #: that would be new if findings were told by their line numbers
    seconds: float

    @property
    def false(self) -> int:
        return (self.new - self.really).total()

    @property
    def missed(self) -> int:
        return (self.really - self.new).total()


def findings() -> list[Table]:
    seen = nights()
    took = [night.seconds * 1000 for night in seen]
    rows = [
        Row(
            what=f"findings called new that are not, in {len(seen)} edits",
            value=sum(night.false for night in seen),
            unit="findings",
            limit=0,
            baseline=f"{sum(n.by_line - n.really.total() for n in seen):,} by line numbers",
            note=f"of {sum(night.findings for night in seen):,} findings",
        ),
        Row(
            what="new findings that were not noticed",
            value=sum(night.missed for night in seen),
            unit="findings",
            limit=0,
            note=f"of {sum(night.really.total() for night in seen)} that edits have brought",
        ),
        Row(what="comparing two nights", value=median(took), unit="ms"),
    ]
    return [Table(title="Findings over moved code", rows=rows)]


def nights(edits: int = EDITS, seed: int = 4) -> list[Night]:
    """Each edit on what the one before it left, and a fresh start after every tenth."""
    chance = random.Random(seed)
    trees: list[tuple[str, Tree]] = []
    for number in range(edits):
        if number % 10 == 0:
            trees.append(("", _sample()))
        name = list(EDITS_BY_NAME)[number % len(EDITS_BY_NAME)]
        trees.append((name, _edited(chance, trees[-1][1], EDITS_BY_NAME[name])))
    said = _lint([tree for _, tree in trees])
    seen: list[Night] = []
    before, counted = Findings(), Counter[tuple[str, str]]()
    for (edit, tree), found in zip(trees, said, strict=True):
        began = time.perf_counter()
        now = snapshot(found, lambda path, tree=tree: tree[path].split("\n"))
        matched = match(before if edit else Findings(), now, tree)
        took = time.perf_counter() - began
        counts = _keys(found, tree)
        if edit:
            night = Night(
                edit=edit,
                findings=len(found),
                new=_keys(matched.new, tree),
                really=counts - counted,
                by_line=len(_places(now) - _places(before)),
                seconds=took,
            )
            seen.append(night)
        counted, before = counts, replace(now, seen=matched.now)
    return seen


def _places(seen: Findings) -> set[tuple[str, str, int]]:
    return {(each.finding.rule, each.finding.path, each.finding.line) for each in seen.seen}


def _keys(found: list[Finding] | tuple[Finding, ...], tree: Tree) -> Counter[tuple[str, str]]:
    return Counter(
        (each.rule, " ".join(tree[each.path].split("\n")[each.line - 1].split())) for each in found
    )


def _sample() -> Tree:
    return {p.relative_to(SAMPLE).as_posix(): p.read_text() for p in sorted(SAMPLE.rglob("*.py"))}


def _lint(trees: list[Tree]) -> list[list[Finding]]:
    """All of them at once: ruff is quick, starting it is not."""
    with tempfile.TemporaryDirectory() as folder:
        for number, tree in enumerate(trees):
            for path, text in tree.items():
                file = Path(folder, str(number), path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        argv = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero"]
        argv += [f"--select={RULES}", "--output-format=json", "."]
        done = subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True)
        found = ruff(done.stdout.replace(f"{Path(folder).resolve()}/", ""), "ruff check")
    by_tree: list[list[Finding]] = [[] for _ in trees]
    for each in found:
        number, _, path = each.path.partition("/")
        by_tree[int(number)].append(replace(each, path=path))
    return by_tree


def _edited(chance: random.Random, tree: Tree, edit: Edit) -> Tree:
    """A few files are edited, each so that it still is Python."""
    made = dict(tree)
    for _ in range(3):
        tried = dict(made)
        edit(chance, tried, chance.choice([p for p in sorted(made) if made[p].strip()]))
        if all(_parses(text) for text in tried.values()):
            made = tried
    return made


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _insert(chance: random.Random, tree: Tree, path: str) -> None:
    lines = tree[path].split("\n")
    for _ in range(chance.randint(1, 8)):
        said = chance.choice(["", f"# note {chance.random()}", "    # see the manual"])
        lines.insert(chance.randrange(len(lines)), said)
    tree[path] = "\n".join(lines)


def _delete(chance: random.Random, tree: Tree, path: str) -> None:
    lines = tree[path].split("\n")
    at = chance.randrange(len(lines))
    del lines[at : at + chance.randint(1, 2)]
    tree[path] = "\n".join(lines)


def _move(chance: random.Random, tree: Tree, path: str) -> None:
    """A function or class to another place of its file, or of another one."""
    lines, block = _block(chance, tree[path])
    other = chance.choice([path, path, *sorted(tree)])
    if other == path:
        tree[path] = "\n".join([*lines, "", "", *block, ""])
    else:
        tree[path] = "\n".join(lines)
        tree[other] = "\n".join([tree[other], "", *block, ""])


def _reindent(chance: random.Random, tree: Tree, path: str) -> None:
    lines, block = _block(chance, tree[path])
    if block:
        inner = [f"    {line}" if line.strip() else line for line in block]
        tree[path] = "\n".join([*lines, "", "if __debug__:", *inner, ""])


def _rename(chance: random.Random, tree: Tree, path: str) -> None:
    folder, _, name = path.rpartition("/")
    other = f"{folder}{chance.choice(['/', '/deeper/'])}{chance.choice('pqr')}_{name}".lstrip("/")
    tree[other] = tree.pop(path)


def _bring(chance: random.Random, tree: Tree, path: str) -> None:
    """Something that really is new, among lines that are moved."""
    _insert(chance, tree, path)
    tree[path] += f"\nprint({chance.random()})\n"


def _block(chance: random.Random, text: str) -> tuple[list[str], list[str]]:
    lines = text.split("\n")
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.parse(text).body if isinstance(node, kinds)]
    if not nodes:
        return lines, []
    node = chance.choice(nodes)
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
    end = node.end_lineno or first
    return lines[:first] + lines[end:], lines[first:end]


EDITS_BY_NAME: Mapping[str, Edit] = {
    "insert": _insert,
    "delete": _delete,
    "move": _move,
    "reindent": _reindent,
    "rename": _rename,
    "bring": _bring,
}
