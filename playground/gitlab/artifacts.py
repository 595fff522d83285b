"""What jobs leave behind: archives, test reports, variables for later jobs."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from playground.gitlab.ci_records import Artifact, Job, Pipeline
from playground.gitlab.ci_rules import glob

LARGEST_ARCHIVE = 200 << 20
LARGEST_REPORT = 20 << 20


class ArtifactsTooLarge(Exception):
    """The files of a job weigh more than the instance keeps."""


def files_of(workspace: Path, patterns: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """Regular files that the patterns name, themselves or by a folder above; links are not
    followed, since the job wrote them."""
    wanted = [glob(pattern.strip().removeprefix("./").rstrip("/")) for pattern in patterns]
    unwanted = [glob(pattern.removeprefix("./")) for pattern in exclude]
    found: list[str] = []
    for folder, subfolders, names in os.walk(workspace):
        subfolders[:] = sorted(n for n in subfolders if n != ".git" or folder != str(workspace))
        for name in sorted(names):
            full = Path(folder, name)
            path = full.relative_to(workspace).as_posix()
            above = [path, *(str(p) for p in PurePosixPath(path).parents)]
            named = any(each.fullmatch(part) for each in wanted for part in above)
            left_out = any(each.fullmatch(path) for each in unwanted)
            if named and not left_out and full.is_file() and not full.is_symlink():
                found.append(path)
    return found


def _read(workspace: Path, path: str) -> bytes:
    descriptor = os.open(workspace / path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST_ARCHIVE + 1)


def collect(job: Job, workspace: Path, folder: Path, *, success: bool) -> list[str]:
    """Fills the job's artifacts, reports and variables; returns lines for the trace."""
    config = job.spec.artifacts
    reports = config.get("reports") or {}
    lines = _collect_reports(job, workspace, folder, reports)
    when = config.get("when", "on_success")
    if not (when == "always" or (when == "on_success") == success) or not config.get("paths"):
        return lines
    names = files_of(workspace, _many(config["paths"]), _many(config.get("exclude")))
    if not names:
        return [*lines, "WARNING: No files to upload."]
    target = folder / f"{job.id}.zip"
    total = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            data = _read(workspace, name)
            total += len(data)
            if total > LARGEST_ARCHIVE:
                raise ArtifactsTooLarge(f"more than {LARGEST_ARCHIVE} bytes")
            info = zipfile.ZipInfo(name)
            info.external_attr = (workspace / name).lstat().st_mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    job.artifacts["archive"] = Artifact(file=target, size=target.stat().st_size)
    return [*lines, f"Uploading artifacts... {len(names)} files"]


def _collect_reports(job: Job, workspace: Path, folder: Path, reports: Any) -> list[str]:
    lines: list[str] = []
    for name in files_of(workspace, _many(reports.get("junit"))):
        data = _read(workspace, name)
        if len(data) <= LARGEST_REPORT:
            job.junit.append(data)
            target = folder / f"{job.id}.junit.xml"
            target.write_bytes(b"\n".join(job.junit))
            size = target.stat().st_size
            job.artifacts["junit"] = Artifact(file=target, size=size, kind="junit")
            lines.append(f"Uploading artifacts as junit: {name}")
    for name in files_of(workspace, _many(reports.get("dotenv"))):
        for line in _read(workspace, name).decode("utf-8", "replace").splitlines():
            if found := re.fullmatch(r"\s*(\w+)=(.*)", line):
                job.dotenv[found[1]] = found[2].strip().strip("\"'")
        lines.append(f"Uploading artifacts as dotenv: {name}")
    return lines


def restore(archive: Path, workspace: Path) -> None:
    """Unpacks what an earlier job of the same pipeline left, never through a link."""
    root = workspace.resolve()
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            target = root / info.filename
            if not target.parent.resolve().is_relative_to(root) or target.is_symlink():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(info))
            target.chmod((info.external_attr >> 16) & 0o777 or 0o644)


def _many(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


# --- test reports


def test_report(pipeline: Pipeline) -> dict[str, Any]:
    suites = [_suite(job.name, job.junit) for job in pipeline.jobs if job.junit and not job.retried]
    return {
        "total_time": sum(s["total_time"] for s in suites),
        **{name: sum(s[name] for s in suites) for name in COUNTS},
        "test_suites": suites,
    }


def test_report_summary(pipeline: Pipeline) -> dict[str, Any]:
    report = test_report(pipeline)
    short = {name.removesuffix("_count"): report[name] for name in COUNTS if name != "total_count"}
    ids = {job.name: job.id for job in pipeline.jobs if job.junit and not job.retried}
    return {
        "total": {
            "time": report["total_time"],
            "count": report["total_count"],
            **short,
            "suite_error": None,
        },
        "test_suites": [
            {k: v for k, v in suite.items() if k != "test_cases"}
            | {"build_ids": [ids[suite["name"]]]}
            for suite in report["test_suites"]
        ],
    }


COUNTS = ("total_count", "success_count", "failed_count", "skipped_count", "error_count")


def _suite(name: str, files: Sequence[bytes]) -> dict[str, Any]:
    cases: list[dict[str, Any]] = []
    problem: str | None = None
    for data in files:
        try:
            root = ElementTree.fromstring(data)
        except ElementTree.ParseError as broken:
            problem = f"JUnit XML parsing failed: {broken}"
            continue
        cases += [_case(element) for element in root.iter("testcase")]
    counts = {
        f"{status}_count": sum(case["status"] == status for case in cases)
        for status in ("success", "failed", "skipped", "error")
    }
    return {
        "name": name,
        "total_time": sum(case["execution_time"] for case in cases),
        "total_count": len(cases),
        **counts,
        "suite_error": problem,
        "test_cases": cases,
    }


def _case(element: ElementTree.Element) -> dict[str, Any]:
    status, output = "success", None
    for tag, name in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
        found = element.find(tag)
        if found is not None:
            message = found.get("message") or ""
            status = name
            output = f"{message}\n{found.text or ''}".strip() if tag != "skipped" else message
            break
    printed = element.find("system-out")
    if output is None and printed is not None:
        output = printed.text
    try:
        duration = float(element.get("time") or 0)
    except ValueError:
        duration = 0.0
    return {
        "status": status,
        "name": element.get("name"),
        "classname": element.get("classname"),
        "file": element.get("file"),
        "execution_time": duration,
        "system_output": output,
        "stack_trace": None,
        "recent_failures": None,
    }
