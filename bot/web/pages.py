"""Templates, filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.run import ENDED, Run, RunId
from agent.state import RunState
from bot.linking import Proof
from bot.views.words import seconds
from bot.web.timeline import Row

TEMPLATES = Path(__file__).parent / "templates"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": _clock, "moment": _moment, "words": _words}
    return environment


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M:%S")


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _words(status: str) -> str:
    return status.replace("_", " ").capitalize()


@dataclass(kw_only=True)
class Pages:
    _templates: Environment = field(default_factory=_environment)

    def index(self, runs: Sequence[Run]) -> str:
        return self._templates.get_template("runs.html").render(runs=runs, ended=ENDED)

    def run(self, state: RunState, rows: Sequence[Row]) -> str:
        return self._templates.get_template("run.html").render(
            state=state, rows=rows, run=state.run, ended=ENDED, seconds=seconds(state)
        )

    def head(self, state: RunState) -> str:
        return self._templates.get_template("_head.html").render(
            state=state, run=state.run, ended=ENDED, seconds=seconds(state)
        )

    def link(self, proof: Proof) -> str:
        return self._templates.get_template("link.html").render(proof=proof)

    def told(self, title: str, text: str) -> str:
        """A page with nothing but a sentence for whoever came here."""
        return self._templates.get_template("told.html").render(title=title, text=text)

    def row(self, run: RunId, row: Row) -> str:
        return self._templates.get_template("_row.html").render(run=run, row=row)
