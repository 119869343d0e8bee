"""The judges' helpers and `tiny` on the path."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS / "unit" / "judge"), str(TESTS)]
