"""The service and the playground run on requirements.txt alone."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: what the commands import late, and what those libraries import later still
LATE = ("sqlalchemy.ext.asyncio", "alembic.command", "openai", "gitlab", "pgqueuer", "rich.live")

IMPORT_ALL = """
import importlib, sys
from pathlib import Path
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} is not in requirements.txt", name=name)
sys.meta_path.insert(0, Absent())
for package in ("agent", "bot", "playground"):
    for path in sorted(Path(package).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if path.stem != "__main__" and "projects" not in path.parts:
            importlib.import_module(name)
for name in LATE:
    importlib.import_module(name)
"""


def pinned(name: str) -> set[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {each.lower() for each in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


def test_every_module_imports_without_the_packages_of_development():
    extra = pinned("requirements-dev.txt") - pinned("requirements.txt")
    assert "playwright" in extra
    absent = {
        module
        for module, names in packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", each).lower() for each in names} & extra
    }
    script = f"ABSENT, LATE = {absent!r}, {LATE!r}\n{IMPORT_ALL}"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
