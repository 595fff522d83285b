"""The scripted task: twenty answers that read, edit and test the sample project, once in our tools
and once as the shell commands that a bash-only harness is given for the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parent.parent / "playground" / "projects" / "invoices"
REQUEST = "Give Money a method that tells whether an amount is zero."
FILES = (
    "README.md", "invoices/app.py", "invoices/handlers.py", "invoices/http.py",
    "invoices/models.py", "invoices/money.py", "invoices/routes.py", "invoices/store.py",
    "tests/test_handlers.py", "tests/test_money.py",
)  # fmt: skip
METHOD = "\n    def is_zero(self) -> bool:\n        return self.cents == 0\n"
TEST = "\n\ndef test_zero():\n    assert Money(0).is_zero()\n    assert not Money(1).is_zero()\n"
BEFORE = '        return f"{sign}{abs(self.cents) // 100}.{abs(self.cents) % 100:02d}"\n'


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def ours() -> list[dict[str, Any]]:
    step = {"title": "Add Money.is_zero with a test", "status": "in_progress"}
    calls = [
        call("update_plan", steps=[step]),
        *(call("read", path=path) for path in FILES),
        call("search", query="Money", mode="text"),
        call("run", command="grep -rn cents invoices | head -20"),
        call("run", command="ls -R invoices tests | head -40"),
        call("edit", path="invoices/money.py", old=BEFORE, new=BEFORE + METHOD),
        call("run", command=f"printf '%s' '{TEST}' >> tests/test_money.py"),
        call("run", command="tail -5 tests/test_money.py"),
        call("run", command="tail -5 invoices/money.py"),
        call("read", path="invoices/money.py"),
        call("finish", summary="Money.is_zero tells whether an amount is zero."),
    ]
    assert len(calls) == 20
    return [{"content": "", "tool_calls": [each]} for each in calls]


def bash() -> list[dict[str, Any]]:
    """The same in bash, for mini-swe-agent."""
    append = f"printf '%s' '{METHOD}' >> invoices/money.py"
    commands = [
        "echo plan",
        *(f"cat -n {path}" for path in FILES),
        "grep -rn Money . | head -60",
        "grep -rn cents invoices | head -20",
        "ls -R invoices tests | head -40",
        append,
        f"printf '%s' '{TEST}' >> tests/test_money.py",
        "tail -5 tests/test_money.py",
        "tail -5 invoices/money.py",
        "cat -n invoices/money.py",
        "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
    ]
    assert len(commands) == 20
    return [{"content": "", "tool_calls": [call("bash", command=each)]} for each in commands]


def commands() -> list[str]:
    """Every shell command of both."""
    calls = (reply["tool_calls"][0]["arguments"] for reply in (*ours(), *bash()))
    return [arguments["command"] for arguments in calls if "command" in arguments]


def repository(folder: Path) -> Path:
    """The sample project as a git repository of its own."""
    shutil.copytree(SAMPLE, folder)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*identity, "commit", "-qm", "Sample"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder
