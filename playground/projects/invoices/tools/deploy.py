"""Writes down what was deployed; the pipeline keeps it as deployed.txt: python3 tools/deploy.py"""

from __future__ import annotations

import os
from pathlib import Path

if __name__ == "__main__":
    commit, place = os.environ["CI_COMMIT_SHA"], os.environ["CI_ENVIRONMENT_NAME"]
    Path("deployed.txt").write_text(f"{commit}\n", encoding="utf-8")
    print(f"{commit[:8]} is on {place}: {os.environ['CI_ENVIRONMENT_URL']}")
