"""The git repository that a command is given by its folder."""

from __future__ import annotations

from pathlib import Path

from agent.errors import SettingsError


def local_repository(repo: str) -> Path:
    """Raises `SettingsError`."""
    folder = Path(repo)
    if _holds_one(folder):
        return folder
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "there is no such folder"
        raise SettingsError(f"--repo {repo} is no git repository: {what}.")
    if above := next(filter(_holds_one, folder.resolve().parents), None):
        raise SettingsError(
            f"--repo {repo} is no git repository, but a folder in one: give {above}."
        )
    raise SettingsError(
        f"--repo {repo} is no git repository: give the top folder of one, or make one of it with "
        "`git init` and a first commit."
    )


def _holds_one(folder: Path) -> bool:
    return (folder / ".git").exists() or (folder / "HEAD").is_file()
