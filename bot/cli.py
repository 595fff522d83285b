"""The `journeyman` command: parses its words; whatever a command needs is imported by it alone."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from agent.errors import JourneymanError, SettingsError
from agent.run import RunStatus

DONE, FAILED, WRONG = 0, 1, 2
ROLES = ("front", "worker", "effects")
MOST = 32  #: runs of an evaluation at once


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 the run or check failed, 2 wrong usage or settings."""
    arguments = _parser().parse_args(argv)
    try:
        return asyncio.run(_command(arguments))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG
    except JourneymanError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return FAILED


def _command(arguments: argparse.Namespace) -> Coroutine[Any, Any, int]:
    match arguments.command:
        case "serve":
            from bot.app import serve_command

            return serve_command(arguments.role)
        case "try":
            from bot.trial import try_command

            return try_command(
                repo=arguments.repo,
                request=arguments.request,
                test_command=arguments.test_command,
                branch=arguments.branch,
                as_json=arguments.json,
            )
        case "eval":
            from bot.evaluation import eval_command

            return eval_command(
                instances=arguments.instances,
                repos=arguments.repos,
                out=arguments.out,
                parallel=arguments.parallel,
                test_command=arguments.test_command,
                retrieval=arguments.retrieval == "on",
                as_json=arguments.json,
            )
        case "maintenance":
            from bot.maintenance import maintenance_command

            return maintenance_command(arguments)
        case "index":
            from bot.code import index_command

            return index_command(repo=arguments.repo, ref=arguments.ref)
        case "search":
            from bot.code import search_command

            return search_command(
                repo=arguments.repo,
                ref=arguments.ref,
                query=arguments.query,
                top_k=arguments.top_k,
                as_json=arguments.json,
                path=arguments.path,
            )
        case "sandbox":
            from bot.operate import sandbox_command

            return sandbox_command(arguments)
        case "migrate":
            from bot.operate import migrate_command

            return migrate_command()
        case "limits":
            from bot.operate import limits_command

            return limits_command(arguments)
        case "runs":
            from bot.operate import runs_command

            return runs_command(arguments)
        case _:
            doctor: Any = importlib.import_module("bot.doctor")
            return doctor.run(arguments.role)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="journeyman",
        description="A coding agent that lives in Slack and ships through GitLab.",
        epilog="Exit codes: 0 done, 1 the run or check failed, 2 wrong usage or settings.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="the service")
    serve.add_argument(
        "--role",
        type=_roles,
        default=ROLES,
        metavar="ROLES",
        help=f"some of {','.join(ROLES)}; all of them by default",
    )

    trial = commands.add_parser("try", help="one run on a local repository, without any account")
    trial.add_argument("request", help="what to do")
    trial.add_argument("--repo", required=True, metavar="PATH", help="a local git repository")
    trial.add_argument("--test-command", metavar="C", help="how its tests are run")
    trial.add_argument(
        "--branch", metavar="NAME", help="name of the branch it leaves (default agent/RUN-MARK)"
    )
    trial.add_argument("--json", action="store_true", help="one JSON object at the end")

    tasks = commands.add_parser("eval", help="tasks with a known answer, each through a run")
    tasks.add_argument(
        "--instances", required=True, metavar="FILE", help="JSON lines in SWE-bench's format"
    )
    tasks.add_argument("--repos", metavar="DIR", help="holds repositories as owner__name")
    tasks.add_argument(
        "--out", default="eval", metavar="DIR", help="results; one that has some goes on (eval)"
    )
    tasks.add_argument(
        "--parallel", type=_count, default=2, metavar="N", help=f"at once, 1 to {MOST} (2)"
    )
    tasks.add_argument("--test-command", metavar="C", help="how their tests are run")
    tasks.add_argument(
        "--retrieval", choices=("on", "off"), default="on", help="the index of the code (on)"
    )
    tasks.add_argument("--json", action="store_true", help="one JSON object at the end")

    nights = commands.add_parser("maintenance", help="what is done to projects at night")
    now = nights.add_subparsers(dest="maintenance", required=True, metavar="COMMAND").add_parser(
        "run", help="does it now, on a project in GitLab or on a local repository"
    )
    now.add_argument(
        "--project", metavar="P", help="of the settings; with --repo only its settings count"
    )
    now.add_argument(
        "--repo", metavar="PATH", help="a local git repository; no account and no model is needed"
    )
    now.add_argument("--task", choices=("lint", "dependencies", "tests"), help="only this one")
    now.add_argument("--test-command", metavar="C", help="how its tests are run")
    now.add_argument("--dry-run", action="store_true", help="changes nothing anywhere")
    now.add_argument("--json", action="store_true", help="one JSON object at the end")

    for name, help_text in (
        ("index", "reads a local repository, so that it can be searched"),
        ("search", "the places of a local repository that a few words are about"),
    ):
        code = commands.add_parser(name, help=help_text)
        code.add_argument("--repo", required=True, metavar="PATH", help="a local git repository")
        code.add_argument("--ref", default="HEAD", help="a commit, branch or tag (default HEAD)")
        if name == "search":
            code.add_argument("query", help="what to look for, in words or names")
            code.add_argument(
                "--top-k", type=_places, default=20, metavar="N", help="how many places (20)"
            )
            code.add_argument(
                "--path", default="", metavar="FOLDER", help="a folder or file to stay in"
            )
            code.add_argument("--json", action="store_true", help="one JSON object")

    sandbox = commands.add_parser("sandbox", help="where commands of a run are run")
    kinds = sandbox.add_subparsers(dest="sandbox", required=True, metavar="COMMAND")
    kinds.add_parser("check", help="proves the isolation of this host")
    execute = kinds.add_parser("exec", help="runs a command as a tool call would")
    execute.add_argument("--workspace", required=True, metavar="DIR")
    execute.add_argument("--network", choices=("none", "fetch"), default="none")
    execute.add_argument("argv", nargs="+", metavar="CMD", help="after --")

    commands.add_parser("migrate", help="brings the database's schema to this version")
    if importlib.util.find_spec("bot.doctor"):
        checks = commands.add_parser(
            "doctor", help="checks settings, tokens, database, sandbox, model"
        )
        checks.add_argument(
            "--role", type=_roles, default=ROLES, metavar="ROLES", help="only what these need"
        )

    limits = commands.add_parser("limits", help="how many runs are at work, and how many may be")
    change = limits.add_subparsers(dest="limits", metavar="COMMAND").add_parser(
        "set", help="changes a limit while workers run"
    )
    change.add_argument("most", type=_most, metavar="N|default", help="at once; or what was before")
    change.add_argument("--project", default="", metavar="P", help="of this project alone")

    runs = commands.add_parser("runs", help="operations on runs")
    actions = runs.add_subparsers(dest="runs", required=True, metavar="COMMAND")
    listed = actions.add_parser("list", help="the newest runs")
    listed.add_argument(
        "--status", type=_statuses, metavar="S", help="only these, for example queued,working"
    )
    listed.add_argument("--project", metavar="P", help="only this one's")
    listed.add_argument(
        "--limit", type=_places, default=50, metavar="N", help="how many, 1 to 1000 (50)"
    )
    listed.add_argument("--json", action="store_true", help="one JSON array")
    for name, help_text in (
        ("show", "what happened in a run"),
        ("stop", "stops a run"),
        ("retry", "queues an ended run again"),
    ):
        action = actions.add_parser(name, help=help_text)
        action.add_argument("run", type=int)
        if name == "show":
            action.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"give a number from 1 to {MOST}")
    return int(text)


def _most(text: str) -> int | None:
    if text == "default":
        return None
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("give a number from 1 to 10000, or `default`")
    return int(text)


def _places(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("give a number from 1 to 1000")
    return int(text)


def _statuses(text: str) -> frozenset[RunStatus]:
    given = [part.strip() for part in text.split(",")]
    if wrong := [status for status in given if status not in set(RunStatus)]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(RunStatus)}")
    return frozenset(RunStatus(status) for status in given)


def _roles(text: str) -> tuple[str, ...]:
    given = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if wrong := [role for role in given if role not in ROLES]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(ROLES)}")
    return given
