"""`python -m bot`, and the entry point of `journeyman`."""

from __future__ import annotations

import sys

try:
    from bot.cli import main as main
except KeyboardInterrupt:
    sys.exit("Interrupted before anything was begun.")

if __name__ == "__main__":
    sys.exit(main())
