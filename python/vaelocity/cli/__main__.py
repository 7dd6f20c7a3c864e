"""`python -m vaelocity.cli` is `vaelocity`."""

from __future__ import annotations

import sys

from vaelocity.cli import main

if __name__ == "__main__":
    sys.exit(main())
