"""`weft cache show | clear`, `--no-cache`, and the cache in `weft doctor`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from weft.compiler import cli
from weft.compiler.cache import key as cache_key
from weft.compiler.cache import shelf as cache

TEXT = "op doubled(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + x[i] }"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program, with an empty cache in use beside it."""
    monkeypatch.setenv("WEFT_CACHE", "1")
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache_key, "source_digest", lambda: "sources")
    monkeypatch.setattr(cache_key, "sources_unchanged", lambda: True)
    cache.forget()
    (tmp_path / "doubled.gir").write_text(TEXT)
    return tmp_path / "doubled.gir"


def run(*arguments: str | Path) -> None:
    assert cli.run([str(a) for a in arguments]) == 0


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, str | int]:
    capsys.readouterr()
    run("cache", "show", "--json")
    rows: dict[str, str | int] = json.loads(capsys.readouterr().out)
    return rows


def test_show_and_clear(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys)["entries"] == 0
    run("run", file, "--bind", "N=4", "--random")
    rows = shown(capsys)
    assert rows["entries"] == 1 and rows["state"] == "in use" and int(rows["bytes"]) > 1000
    run("cache", "show")
    assert f"entries     1\nbytes       {rows['bytes']}\n" in capsys.readouterr().out
    run("doctor")
    assert str(file.parent / "cache" / "kernels") in capsys.readouterr().out
    run("cache", "clear")
    assert capsys.readouterr().out.startswith(f"1 kernels, {rows['bytes']} bytes deleted")
    assert shown(capsys)["entries"] == 0


def test_without_the_cache(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run("run", file, "--bind", "N=4", "--random", "--no-cache")
    run("compile", file, "--bind", "N=4", "-o", tmp_path / "out", "--emit", "manifest", "--no-cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name,value", [("WEFT_CACHE", "0"), ("WEFT_CACHE_DIR", "off")])
def test_turned_off(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert shown(capsys)["directory"] == "none"
    assert cli.run(["cache", "clear"]) == cli.USER
    assert "turned off" in capsys.readouterr().err


def test_a_directory_that_is_not_used(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("run", file, "--bind", "N=4", "--random")
    os.chmod(file.parent / "cache", 0o777)
    assert "can be written to by others" in str(shown(capsys)["state"])
    assert cli.run(["cache", "clear"]) == cli.USER
    assert "delete it by hand" in capsys.readouterr().err
