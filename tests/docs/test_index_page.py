"""docs/index.md lists every page and every setting; links between pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from weft import settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
INDEX = (ROOT / "docs" / "index.md").read_text()


def test_every_page_is_listed() -> None:
    names = [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "index.md"]
    assert [n for n in sorted(names) if f"]({n})" not in INDEX] == []


def test_every_setting_is_listed() -> None:
    assert [env for env, _, _ in settings.describe() if f"`{env}`" not in INDEX] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    assert [x for x in links if "://" not in x and not (page.parent / x).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths in backquotes that begin with a room; `<name>` and `*` stand for many."""
    rooms = "ir|ops|backends|compiler|autotune|benchmarks|examples|tests|docs"
    named = re.findall(rf"`((?:{rooms})/[\w/.]+\.(?:py|gir|toml|md))`", page.read_text())
    assert [n for n in named if not (ROOT / n).exists()] == []
