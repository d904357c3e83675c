"""Fixtures that every room's tests share. Nothing is written to the user's own directories."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDENS = Path(__file__).parent / "goldens"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write the texts that tests compare with")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: `text` is that of tests/goldens/`name`, or becomes it under --update-goldens."""

    def compare(name: str, text: str) -> None:
        path = GOLDENS / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"no golden {name}: run pytest --update-goldens"
        assert text == path.read_text(), f"{name} changed: read the difference, then run pytest --update-goldens"

    return compare


@pytest.fixture(autouse=True, scope="session")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["WEFT_VERIFY"] = "1"
    os.environ["WEFT_CACHE"] = "0"  # tests that want the kernel cache turn it on; the others are to compile
    os.environ["WEFT_RECORDS"] = "off"
    os.environ["WEFT_MACHINE_DIR"] = "off"
    os.environ["WEFT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
