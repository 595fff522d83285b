"""What commands printed beyond what the model was shown: files that it can read, outside the
repository. The log has them too, so that any host can lay them out again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agent.files import WorkspaceFiles

MOUNT = "/output"  #: inside the sandbox; nothing there can be changed from inside
HEAD, TAIL = 12 << 20, 3 << 20  #: bytes kept of a command's output; what lies between is lost


class Outputs:
    """`folder` is an empty one from `Sandbox.new_folder`."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the box may run as another user than the folder was made for
        self.folder = folder
        self.files = WorkspaceFiles(folder)

    def keep(self, output: bytes) -> str:
        """Where the model finds it. Named after what it holds: again is the same place."""
        name = f"{hashlib.sha256(output).hexdigest()[:12]}.txt"
        self.files.write(name, output)
        return f"{MOUNT}/{name}"
