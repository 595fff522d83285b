"""mini-swe-agent, the baseline: in an environment of its own, so that ours stays as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.scripted import ROOT

PINNED = ("mini-swe-agent==2.4.6", "mcp")  # litellm needs mcp, and does not say so
FOLDER = ROOT / ".bench" / "mini"


def find() -> tuple[Path | None, str]:
    """The program, installed when it is not there; None and the reason when that fails."""
    program = FOLDER / "bin" / "mini"
    if program.exists():
        return program, ""
    print("Installing mini-swe-agent into .bench, once …", file=sys.stderr)
    uv = Path(sys.executable).with_name("uv")
    try:
        subprocess.run([uv, "venv", "-q", "--clear", FOLDER], check=True, capture_output=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", FOLDER / "bin" / "python", *PINNED],
            check=True,
            capture_output=True,
            timeout=600,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or b"").decode().strip().splitlines()
        return None, f"it could not be installed ({said[-1] if said else error})"
    return program, ""


def command(program: Path, task: str, trajectory: Path) -> list[str]:
    argv = [str(program), "--yolo", "--exit-immediately", "--task", task]
    argv += ["--model", "openai/scripted", "--output", str(trajectory)]
    return argv


def environment(url: str, home: Path) -> dict[str, str]:
    return {
        "OPENAI_API_BASE": url,
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "none",
        "MSWEA_CONFIGURED": "true",
        "MSWEA_COST_TRACKING": "ignore_errors",
        "MSWEA_GLOBAL_CONFIG_DIR": str(home),
        "MSWEA_SILENT_STARTUP": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
