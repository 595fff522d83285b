"""`python -m bot`, and the entry point of `journeyman`."""

from __future__ import annotations

import sys

from bot.cli import main as main

if __name__ == "__main__":
    sys.exit(main())
