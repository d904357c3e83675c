"""These tests use the random ops that the tests of `ir` make."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ir"))
