"""Tapes fit the sample project: what they cite and edit stands there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from playground.model.tapes import FOLDER, Tape, load_tapes

PROJECT = FOLDER.parent / "projects" / "invoices"


def test_each_request_is_on_one_tape():
    asks = [tape.ask for tape in load_tapes()]
    assert len(asks) == len(set(asks)) >= 5


@pytest.mark.parametrize("tape", load_tapes(), ids=lambda tape: tape.ask)
def test_a_tape_holds_replies_only_and_ends_by_finishing(tape: Tape):
    names = [call["name"] for reply in tape.replies for call in reply["tool_calls"]]
    assert names[-1] == "finish"
    assert all(set(reply) == {"content", "tool_calls"} for reply in tape.replies)


def test_the_places_that_an_answer_cites_say_what_it_says():
    answer = json.dumps([tape.replies for tape in load_tapes() if tape.ask.startswith("why")])
    cited = re.findall(r"([\w/.]+\.(?:py|md)):(\d+)", answer)
    assert len(cited) == 3
    for path, line in cited:
        text = (PROJECT / path).read_text().splitlines()[int(line) - 1]
        assert "draft" in text.lower(), f"{path}:{line} is {text!r}"


def test_the_export_breaks_the_lint_job_of_the_pipeline_and_then_mends_it(tmp_path: Path):
    (tape,) = [tape for tape in load_tapes() if tape.ask.startswith("add an endpoint")]
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    said = [style(project)]
    for reply in tape.replies:
        for call in reply["tool_calls"]:
            carry_out(project, call["name"], call["arguments"])
            if call["name"] == "finish":
                said.append(style(project))

    before, _, pushed, mended = said
    assert before == mended == "All files are fine."
    assert re.findall(r"test_export.py:\d+: (.*)", pushed) == [
        "`pytest` is imported and never used",
        "line too long (103 > 100)",
    ]


def carry_out(folder: Path, tool: str, arguments: dict[str, str]) -> None:
    path = folder / arguments.get("path", "")
    if tool == "write":
        path.write_text(arguments["content"])
    if tool == "edit":
        text = path.read_text()
        assert text.count(arguments["old"]) == 1, arguments
        path.write_text(text.replace(arguments["old"], arguments["new"]))


def style(folder: Path) -> str:
    command = [sys.executable, "-B", "tools/style.py"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ran.stdout.strip()
