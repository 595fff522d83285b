"""What an evaluation leaves in its folder: a line an instance, and predictions as SWE-bench's."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from agent.errors import SettingsError
from agent.evaluation.instance import Outcome

RESULTS, PREDICTIONS = "results.jsonl", "predictions.jsonl"
_OUTCOME = TypeAdapter(Outcome)


class ResultFiles:
    """One process at a time. Of an instance that stands there twice, the later line counts."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self._model = model
        self.outcomes: dict[str, Outcome] = {}

    @contextmanager
    def opened(self) -> Generator[None]:
        """Reads what an earlier start has left; writes the predictions in the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SettingsError(
                    f"Another evaluation writes to {self.folder}: wait for it, or give another"
                    " folder with --out."
                ) from error
            self._read()
            try:
                yield
            finally:
                self._predict()

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.instance] = outcome
        plain = {"model": self._model, **_OUTCOME.dump_python(outcome, mode="json")}
        line = f"{json.dumps(plain)}\n".encode()
        with (self.folder / RESULTS).open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())

    def _read(self) -> None:
        path = self.folder / RESULTS
        data = path.read_bytes() if path.exists() else b""
        whole, _, torn = data.rpartition(b"\n")
        if torn:  # who wrote it was killed
            os.truncate(path, len(data) - len(torn))
        for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
            try:
                plain = json.loads(line)
                model = plain.pop("model")
                outcome = _OUTCOME.validate_python(plain)
            except (ValueError, AttributeError, KeyError) as error:
                raise SettingsError(
                    f"Line {number} of {path} cannot be read: take it out, or give another folder"
                    " with --out."
                ) from error
            if model != self._model:
                raise SettingsError(
                    f"{self.folder} holds results of the model {model}, and this one is"
                    f" {self._model}: give another folder with --out."
                )
            self.outcomes[outcome.instance] = outcome

    def _predict(self) -> None:
        lines = [
            json.dumps(
                {
                    "instance_id": outcome.instance,
                    "model_name_or_path": f"journeyman/{self._model}",
                    "model_patch": outcome.patch,
                }
            )
            for outcome in self.outcomes.values()
            if outcome.status and not outcome.problem
        ]
        temporary = self.folder / f"{PREDICTIONS}.new"
        temporary.write_text("".join(f"{line}\n" for line in lines))
        temporary.rename(self.folder / PREDICTIONS)
