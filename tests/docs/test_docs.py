"""The examples in README.md and docs/*.md run as they stand.

A document's ```weft blocks must parse; one whose first line is `# NAME.gir` is written to a file of that name. Its
```python blocks run in order as one script in the same folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from weft.compiler import front

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(weft|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"#\s*([A-Za-z0-9_]+\.gir)\b")


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return [body for kind, body in _BLOCK.findall(document.read_text()) if kind == language]


@pytest.mark.parametrize("document", documents(), ids=lambda p: p.name)
def test_programs_parse(document: Path) -> None:
    for text in blocks(document, "weft"):
        if front.is_program(text):
            front.parse(text, document.name)
        else:
            assert front.parse_file(text, document.name)


@pytest.mark.parametrize("document", [d for d in documents() if blocks(d, "python")], ids=lambda p: p.name)
def test_python_runs(document: Path, tmp_path: Path) -> None:
    for text in blocks(document, "weft"):
        named = _FILE.match(text)
        if named:
            (tmp_path / named.group(1)).write_text(text)
    script = tmp_path / "example.py"
    script.write_text("\n".join(blocks(document, "python")))
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_library_page_names_every_operator() -> None:
    from weft import ops

    page = (ROOT / "docs" / "operators.md").read_text()
    assert [n for n in ops.names() if f"`{n}`" not in page] == []
