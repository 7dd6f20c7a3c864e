"""One module for each other runtime, as `protocol` describes it."""

from __future__ import annotations
