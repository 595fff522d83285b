"""Checks how the code is written; the pipeline runs it: python3 tools/style.py [FILE ...]"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 100
FOLDERS = ("invoices", "tests", "tools")


def problems(text: str) -> Iterator[tuple[int, str]]:
    """Line and what is wrong there."""
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST:
            yield number, f"line too long ({len(line)} > {LONGEST})"
        if line != line.rstrip():
            yield number, "trailing whitespace"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no line break at the end of the file"
    yield from unused_imports(ast.parse(text))


def unused_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    imported: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                imported[(alias.asname or alias.name).split(".")[0]] = node.lineno
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name, line in imported.items():
        if name not in used | {"annotations"}:
            yield line, f"`{name}` is imported and never used"


def main(names: list[str]) -> int:
    files = [Path(name) for name in names]
    files = files or sorted(path for folder in FOLDERS for path in Path(folder).rglob("*.py"))
    found = [
        f"{path}:{line}: {what}"
        for path in files
        for line, what in sorted(problems(path.read_text(encoding="utf-8")))
    ]
    print("\n".join(found))
    print(f"{len(files)} files checked, {len(found)} problems" if found else "All files are fine.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
