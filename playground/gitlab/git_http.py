"""git over smart HTTP, through git's own CGI program."""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from agent.adapters.git_process import git_process
from playground.gitlab.git_run import ENVIRONMENT
from playground.gitlab.http import ACTOR, PUSHED
from playground.gitlab.records import DEVELOPER, REPORTER, Project, User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

PRE_RECEIVE = """\
import fnmatch, json, os, subprocess, sys

rules = json.loads(os.environ["PUSH_RULES"])
for line in sys.stdin:
    old, new, ref = line.split()
    if not ref.startswith("refs/heads/"):
        continue
    branch = ref[len("refs/heads/"):]
    hits = [r for r in rules["branches"] if fnmatch.fnmatchcase(branch, r["name"])]
    gone = not new.strip("0")
    if gone and (hits or branch == rules["default"]):
        sys.exit(print("GitLab: You can only delete protected branches using the web interface."
                       if hits else "GitLab: The default branch of a project cannot be deleted.",
                       file=sys.stderr) or 1)
    if hits and not any(r["push"] for r in hits):
        sys.exit(print("GitLab: You are not allowed to push code to protected branches on this "
                       "project.", file=sys.stderr) or 1)
    if hits and old.strip("0") and not any(r["force"] for r in hits):
        ancestor = subprocess.run(["git", "merge-base", "--is-ancestor", old, new])
        if ancestor.returncode:
            sys.exit(print("GitLab: You are not allowed to force push code to a protected branch "
                           "on this project.", file=sys.stderr) or 1)
"""

POST_RECEIVE = """\
#!/bin/sh
cat > "$PUSH_RESULT/changes"
i=0
while [ "$i" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
  eval "printf '%s\\n' \\"\\$GIT_PUSH_OPTION_$i\\"" >> "$PUSH_RESULT/options"
  i=$((i + 1))
done
"""


def install_hooks(folder: Path) -> None:
    """The hooks that every repository of the instance points to."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pre_receive.py").write_text(PRE_RECEIVE)
    interpreter, script = shlex.quote(sys.executable), shlex.quote(str(folder / "pre_receive.py"))
    (folder / "pre-receive").write_text(f"#!/bin/sh\nexec {interpreter} -S -E {script}\n")
    (folder / "post-receive").write_text(POST_RECEIVE)
    for name in ("pre-receive", "post-receive"):
        (folder / name).chmod(0o755)


async def serve(forge: Forge, request: web.Request, path: str, service: str) -> web.StreamResponse:
    """`path` is the project's path, `service` what follows `.git/`."""
    actor, scopes = _credentials(forge, request)
    request[ACTOR] = actor.username if actor else ""
    project = forge.state.project_by(path)
    pushing = "git-receive-pack" in (service, request.query.get("service"))
    if actor is None and (project is None or project.visibility != "public" or pushing):
        return _text(401, "HTTP Basic: Access denied", {"WWW-Authenticate": 'Basic realm="GitLab"'})
    if project is None or not forge.state.visible(project, actor):
        text = "The project you were looking for could not be found or you don't have permission "
        return _text(404, text + "to view it.")
    refusal = _refusal(forge, project, actor, scopes, pushing)
    if refusal:
        return _text(403, refusal)
    with tempfile.TemporaryDirectory(prefix="push-") as folder:
        env = _environment(forge, request, project, actor, service)
        env |= {"PUSH_RESULT": folder, "PUSH_RULES": _rules(forge, project, actor)}
        response = await _cgi(request, env, body=pushing and service == "git-receive-pack")
        changed, given = Path(folder) / "changes", Path(folder) / "options"
        if changed.exists() and actor is not None:
            lines = [line.split(" ", 2) for line in changed.read_text().splitlines()]
            changes = [(old, new, ref) for old, new, ref in lines]
            request[PUSHED] = tuple(changes)
            options = given.read_text().splitlines() if given.exists() else []
            await forge.pushed(project, actor, changes, options)
    if isinstance(response, web.StreamResponse) and not isinstance(response, web.Response):
        await response.write_eof()
    return response


def _credentials(forge: Forge, request: web.Request) -> tuple[User | None, frozenset[str]]:
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith("basic "):
        return None, frozenset()
    try:
        name, _, secret = base64.b64decode(header[6:]).decode().partition(":")
    except ValueError:
        return None, frozenset()
    for candidate in (secret, name):
        found = forge.auth.user_of(candidate) if candidate else None
        if found:
            return found
    return None, frozenset()


def _refusal(
    forge: Forge, project: Project, actor: User | None, scopes: frozenset[str], pushing: bool
) -> str:
    level = forge.state.access(project, actor)
    if pushing:
        if not scopes & {"api", "write_repository"} or level < DEVELOPER:
            return "You are not allowed to push code to this project."
        if project.archived:
            return "You are not allowed to push code to an archived project."
        return ""
    readable = project.visibility != "private" or level >= REPORTER
    allowed = actor is None or scopes & {"api", "read_repository", "write_repository"}
    return "" if readable and allowed else "You are not allowed to download code from this project."


def _rules(forge: Forge, project: Project, actor: User | None) -> str:
    branches = [
        {
            "name": rule.name,
            "push": forge.state.granted(rule.push, project, actor),
            "force": rule.allow_force_push,
        }
        for rule in project.protected_branches.values()
    ]
    return json.dumps({"branches": branches, "default": project.default_branch})


def _environment(
    forge: Forge, request: web.Request, project: Project, actor: User | None, service: str
) -> dict[str, str]:
    repository = forge.repository(project).path
    env = {
        **ENVIRONMENT,
        "GIT_PROJECT_ROOT": str(repository.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repository.name}/{service}",
        "QUERY_STRING": request.rel_url.raw_query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "REMOTE_USER": actor.username if actor else "",
        "REMOTE_ADDR": request.remote or "",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    # git packs what it asks for once that is long; aiohttp has unpacked it to another length
    if "Content-Length" in request.headers and "Content-Encoding" not in request.headers:
        env["CONTENT_LENGTH"] = request.headers["Content-Length"]
    if "Git-Protocol" in request.headers:
        env["HTTP_GIT_PROTOCOL"] = env["GIT_PROTOCOL"] = request.headers["Git-Protocol"]
    return env


async def _cgi(request: web.Request, env: dict[str, str], *, body: bool) -> web.StreamResponse:
    """Streams both ways; the answer to a push is held back until the push is known."""
    async with git_process("http-backend", env=env, stdin=True, stderr=False) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = asyncio.create_task(_feed(request, process.stdin))
        try:
            status, headers = 200, {}
            while line := (await process.stdout.readline()).decode().strip():
                key, _, value = line.partition(": ")
                if key.lower() == "status":
                    status = int(value.split()[0])
                else:
                    headers[key] = value
            if body:
                data, _ = await process.communicate()
                return web.Response(body=data, status=status, headers=headers)
            response = web.StreamResponse(status=status, headers=headers)
            await response.prepare(request)
            while chunk := await process.stdout.read(1 << 16):
                await response.write(chunk)
            await process.wait()
            return response
        finally:
            feeder.cancel()


async def _feed(request: web.Request, stdin: asyncio.StreamWriter) -> None:
    try:
        async for chunk in request.content.iter_chunked(1 << 16):
            stdin.write(chunk)
            await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        stdin.close()


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=headers)


def new_repository(path: Path, hooks: Path, default_branch: str) -> list[list[str]]:
    """The git commands that make a repository as the instance needs it."""
    config = {
        "http.receivepack": "true",
        "core.hooksPath": str(hooks),
        "receive.advertisePushOptions": "true",
        "uploadpack.allowAnySHA1InWant": "true",
        "uploadpack.allowFilter": "true",
        "gc.auto": "0",
    }
    first = ["init", "--bare", "--quiet", f"--initial-branch={default_branch}", str(path)]
    return [first] + [[f"--git-dir={path}", "config", *item] for item in config.items()]
