"""`python -m playground`: Slack, GitLab and a model on this machine, and Journeyman among them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import webbrowser
from itertools import count
from pathlib import Path

from playground.keep import OtherVersion
from playground.service import ROOT, ServiceFailed
from playground.town import DEFAULT_MODEL, DEFAULT_PORT, InUse, Options, Playground, running

_MODEL = (
    *("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    *("JOURNEYMAN_MODEL", "JOURNEYMAN_MODEL_PLAN", "JOURNEYMAN_MODEL_REPAIR"),
)
#: How this machine finds programs and packages: all that the service sees of our environment.
_MACHINE = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE"),
    *("NPM_CONFIG_REGISTRY", "npm_config_registry", "GOPROXY"),
)


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    options = Options(
        home=args.home or ROOT / ".journeyman" / ("nightly" if args.demo_nightly else "playground"),
        port=args.port,
        project=args.project,
        nightly=args.demo_nightly,
        model=_model(),
        machine=_machine(),
    )
    try:
        return _begun(options, args)
    except KeyboardInterrupt:
        return 130
    except (InUse, OtherVersion, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 2
    except ServiceFailed as problem:
        print(problem, file=sys.stderr)
        return 1


def _begun(options: Options, args: argparse.Namespace) -> int:
    """What another version has left in our own folder is moved aside, and nothing of it lost."""
    try:
        return asyncio.run(_run(options, args))
    except OtherVersion:
        if args.home:
            raise
        aside = _free(options.home)
        options.home.rename(aside)
        told = f"What another version of the playground has left is kept in {aside}."
        print(f"{told} Starting afresh.", file=sys.stderr)
        return asyncio.run(_run(options, args))


def _free(home: Path) -> Path:
    return next(path for n in count(1) if not (path := home.with_name(f"{home.name}-{n}")).exists())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m playground", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help=f"of the page (default {DEFAULT_PORT})")
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    parser.add_argument("--no-open", action="store_true", help="do not open the browser")
    parser.add_argument("--demo", action="store_true", help="show one request in the terminal")
    parser.add_argument(
        "--demo-nightly", action="store_true", help="show a night of maintenance in the terminal"
    )
    parser.add_argument(
        "--project", type=Path, metavar="PATH", help="a local git repository to work on as well"
    )
    parser.add_argument(
        "--home",
        type=Path,
        metavar="DIR",
        help="where everything is kept (default .journeyman/playground or .journeyman/nightly)",
    )
    return parser


def _model() -> dict[str, str]:
    """The caller's model; without a key or an address, none."""
    given = {name: value for name in _MODEL if (value := os.environ.get(name, "").strip())}
    if "OPENAI_API_KEY" not in given and "OPENAI_BASE_URL" not in given:
        return {}
    return {"JOURNEYMAN_MODEL": DEFAULT_MODEL, **given}


def _machine() -> dict[str, str]:
    return {name: os.environ[name] for name in _MACHINE if name in os.environ}


async def _run(options: Options, args: argparse.Namespace) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    code, asked = 0, False

    def stop() -> None:
        nonlocal asked
        if not asked:  # a second Ctrl-C must not cut off the cleaning up
            asked = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with running(options) as playground:
            if args.demo or args.demo_nightly:
                if args.demo_nightly:
                    from playground.demo_nightly import show_night

                    code = await show_night(playground, options.service_home.absolute())
                else:
                    from playground.demo import show

                    code = await show(playground)
                if not sys.stdout.isatty():
                    return code
                print("Go on there as long as you like; Ctrl-C stops everything.", flush=True)
                await playground.service.ended()
            _announce(playground, as_json=args.json)
            if not (args.no_open or args.json):
                await asyncio.to_thread(webbrowser.open, playground.page.url)
            await playground.service.ended()
    except asyncio.CancelledError:
        with contextlib.suppress(BrokenPipeError):
            after = "begins anew" if options.nightly else "goes on from here"
            print(f"Stopped. The next start {after}.", file=sys.stderr)
    return code


def _announce(playground: Playground, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(playground.addresses()), flush=True)
        return
    print(f"{playground.model_line}\nOpen {playground.page.url} (Ctrl-C stops)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
