"""`weft tune` and `weft records`: what they print, and how they end."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weft.autotune.record import Record, from_line
from weft.autotune.store import read_file
from weft.compiler import cli

TEXT = "op spread(x: f32[M, N]) -> (y: f32[M, N]) {\n  s[i] = sum[j] x[i, j]\n  y[i, j] = x[i, j] - s[i]\n}\n"


def ends(code: int, arguments: list[Any]) -> None:
    assert cli.run([str(a) for a in arguments]) == code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the program and, under `records`, what tuning it gave."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "spread.gir").write_text(TEXT)
    tune = ["tune", folder / "spread.gir", "--target", "cpu", "--bind", "M=8,N=40", "--threads", "1"]
    ends(0, [*tune, "--trials", "3", "--time", "5", "--records", folder / "records"])
    return folder


def records(place: Path) -> list[Record]:
    (file,) = (place / "records").glob("*.jsonl")
    return read_file(file)


def test_a_second_run_has_nothing_to_do(place: Path, capsys: Any) -> None:
    before = records(place)
    tune = ["tune", place / "spread.gir", "--target", "cpu", "--bind", "M=8,N=40", "--threads", "1", "--trials", "3"]
    ends(0, [*tune, "--records", place / "records"])
    said = capsys.readouterr()
    assert "measured   none; 3 known before" in said.out and "best " in said.out and said.err == ""
    ends(0, [*tune, "--records", place / "records", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["known"] == 3 and data["measured"] == {} and data["best"]["status"] == "ok"
    assert records(place) == before


def test_list_and_show(place: Path, capsys: Any) -> None:
    ends(0, ["records", "list", "--records", place / "records"])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["program", "key", "extents"] and line.split()[0] == "spread" and "M=8 N=40" in line
    ends(0, ["records", "list", "--records", place / "records", "--json"])
    (data,) = json.loads(capsys.readouterr().out)
    assert (data["candidates"], data["ok"], data["threads"]) == (3, 3, 1)
    for program in (place / "spread.gir", "spread", data["key"]):
        ends(0, ["records", "show", program, "--records", place / "records"])
        out = capsys.readouterr().out
        assert "default: " in out and out.count("M=8 N=40") == len(records(place))
    ends(0, ["records", "show", "spread", "--records", place / "records", "--json"])
    assert len(json.loads(capsys.readouterr().out)) == len(records(place))


def test_export(place: Path, tmp_path: Path, capsys: Any) -> None:
    ends(0, ["records", "export", "--records", place / "records"])
    lines = [json.dumps(d).encode() for d in json.loads(capsys.readouterr().out)]
    assert [from_line(line) for line in lines] == records(place)
    out = tmp_path / "out.csv"
    ends(0, ["records", "export", "--records", place / "records", "--format", "csv", "-o", out])
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [r["plan"] for r in rows] == [r.plan for r in records(place)]
    assert rows[0]["environment.target"] == "cpu" and json.loads(rows[0]["bind"]) == {"M": 8, "N": 40}
    assert float(rows[0]["seconds"]) == records(place)[0].seconds


def test_the_setting_names_the_directory(place: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_RECORDS", str(place / "records"))
    ends(0, ["records", "show", "spread"])
    inspect = ["inspect", place / "spread.gir", "--target", "cpu", "--bind", "M=8,N=40", "--search"]
    monkeypatch.setenv("WEFT_THREADS", "1")
    ends(0, inspect)
    assert "a tuning record overrides this" in capsys.readouterr().out
    monkeypatch.setenv("WEFT_THREADS", "2")
    ends(0, [*inspect, "--json"])
    assert json.loads(capsys.readouterr().out)["record"] is None
    ends(0, ["run", place / "spread.gir", "--random", "--bind", "M=8,N=40", "--threads", "1", "--check"])
    assert "largest error" in capsys.readouterr().out


def test_no_records(tmp_path: Path, capsys: Any) -> None:
    ends(0, ["records", "list", "--records", tmp_path / "none"])
    assert capsys.readouterr().out.splitlines()[0].startswith("program")
    ends(0, ["records", "export", "--records", tmp_path / "none"])
    assert json.loads(capsys.readouterr().out) == []
    ends(1, ["records", "show", "spread", "--records", tmp_path / "none"])
    assert "no records of 'spread'" in capsys.readouterr().err
    ends(1, ["records", "list"])
    assert "turned off" in capsys.readouterr().err


def test_inputs_from_files(place: Path, tmp_path: Path, capsys: Any) -> None:
    np.save(tmp_path / "x.npy", np.ones((8, 40), np.float32))
    tune = ["tune", place / "spread.gir", "--trials", "1", "--time", "1", "--records", tmp_path / "r"]
    ends(0, [*tune, "--input", f"x={tmp_path}/x.npy"])
    assert "1 ok" in capsys.readouterr().out
    ends(1, [*tune, "--input", f"z={tmp_path}/x.npy"])
    assert "no input 'z'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments,code", [(["--trials", "0"], 2), (["--time", "-1"], 2), ([], 1), (["--bind", "M"], 2)]
)
def test_wrong_requests(arguments: list[str], code: int, place: Path, tmp_path: Path, capsys: Any) -> None:
    ends(code, ["tune", place / "spread.gir", "--records", tmp_path, *arguments])
    assert "Traceback" not in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_scheduled_program_has_nothing_to_tune(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "p.gir").write_text(
        "program p() { tensor x: f32[4] input tensor y: f32[4] output\n"
        "kernel k { v = load<4> x[@0] store<4> y[@0] = v } }"
    )
    ends(1, ["tune", tmp_path / "p.gir", "--records", tmp_path])
    assert "scheduled by hand" in capsys.readouterr().err
    ends(1, ["inspect", tmp_path / "p.gir", "--search"])
    assert "scheduled by hand" in capsys.readouterr().err


def test_inspect_shows_what_the_search_considered(place: Path, capsys: Any) -> None:
    inspect = ["inspect", place / "spread.gir", "--target", "cpu:avx2", "--bind", "M=1024,N=1024", "--search"]
    ends(0, inspect)
    out = capsys.readouterr().out
    assert out.startswith("spread on cpu:avx2\n") and out.count("\n* ") == 1 and "chosen: within" in out
    assert "lower bound" in out and "% time" in out
    ends(0, [*inspect, "--json"])
    data = json.loads(capsys.readouterr().out)
    times = [c["seconds"] for c in data["candidates"]]
    assert data["costed"] == len(times) > 5 and times == sorted(times)
    assert sum(c["chosen"] for c in data["candidates"]) == 1
    assert all(c["reason"] and c["dram_bytes"] > 0 and c["bound"] for c in data["candidates"])
    assert next(c for c in data["candidates"] if c["chosen"])["seconds"] <= times[0] * 1.03
    ends(1, [*inspect, "--bind", "K=4"])
    assert "no symbol 'K'" in capsys.readouterr().err
