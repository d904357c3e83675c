"""The registry of settings: every variable parses or says why not; importing weft stays quick."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from weft import settings
from weft.ir.errors import UserError

ROOT = Path(__file__).parents[2]


def test_defaults_without_environment() -> None:
    assert settings.current({}) == settings.Settings()


def test_values_are_typed() -> None:
    found = settings.current({"WEFT_THREADS": "4", "WEFT_POOL_BYTES": "64m", "WEFT_HUGE_PAGES": "off"})
    assert (found.threads, found.pool_bytes, found.huge_pages) == (4, 64 << 20, False)


@pytest.mark.parametrize(
    "name,value", [("WEFT_THREADS", "0"), ("WEFT_THREADS", "two"), ("WEFT_POISON", "2"), ("WEFT_POOL_BYTES", "1kk")]
)
def test_bad_values_name_the_variable(name: str, value: str) -> None:
    with pytest.raises(UserError, match=name):
        settings.current({name: value})


def test_every_setting_is_described() -> None:
    rows = settings.describe()
    assert all(name.startswith("WEFT_") and meaning for name, _, meaning in rows)
    assert len({name for name, _, _ in rows}) == len(rows)


def test_import_is_quick_and_needs_nothing() -> None:
    code = (
        "import time; t = time.perf_counter(); import weft; e = time.perf_counter() - t; import sys;"
        "print(e, sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'llvmlite', 'networkx', 'click', 'torch'}))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(r.stdout.split()[0]) for r in runs) < 0.150
    assert runs[0].stdout.split(maxsplit=1)[1].strip() == "[]"


def test_the_face_names_what_it_has() -> None:
    import weft

    for name in weft.__all__:
        assert getattr(weft, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        weft.nothing  # noqa: B018


def test_nobody_else_reads_weft_variables() -> None:
    for room in ("ir", "ops", "compiler", "backends", "autotune"):
        for path in (ROOT / room).rglob("*.py"):
            assert not re.search(r"(environ|getenv).*WEFT_", path.read_text()), path
