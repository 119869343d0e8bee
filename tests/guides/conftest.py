"""A notebook reads the project that the report's tests make; a router stands before the endpoints of others."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "report"))  # `synthetic_project`
sys.path.append(str(Path(__file__).parents[1] / "openai"))  # `endpoint`
