"""docs/failures.md names tests that exist, and every test that says the number of a failure."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "failures.md").read_text()
_NUMBERED = re.compile(r"\bfailures? (\d+)", re.IGNORECASE)


def functions_of_tests() -> dict[str, set[int]]:
    """`file.py::name` of every test -> the failures that its name or docstring gives."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = f"{node.name.replace('_', ' ')} {ast.get_docstring(node) or ''}"
                found[f"{path.name}::{node.name}"] = {int(n) for n in _NUMBERED.findall(said)}
    return found


def rows() -> dict[int, tuple[str, str]]:
    """Number of a failure -> the cells *named by* and *exercised by*."""
    cells = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(number): (named, exercised) for number, _, named, exercised in cells}


def test_tests_on_the_page_exist() -> None:
    known = functions_of_tests()
    assert [t for t in re.findall(r"test_\w+\.py::test_\w+", PAGE) if t not in known] == []


def test_the_page_has_every_test_that_names_a_failure() -> None:
    table = rows()
    for name, numbers in functions_of_tests().items():
        for number in sorted(numbers):
            assert name in table[number][0], f"{name} names failure {number}: docs/failures.md does not say so"
    for number, (named, _) in table.items():
        for name in re.findall(r"test_\w+\.py::test_\w+", named):
            assert number in functions_of_tests()[name], f"{name} does not name failure {number}"
