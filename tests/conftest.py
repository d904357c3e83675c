"""Fixtures of every test: nothing is written to the user's own cache directory."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    import os

    os.environ["WEFT_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
