"""The command line: what it writes, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weft.compiler import cli

DOUBLE = "op double(x: f32[N]) -> (y: f32[N]) {\n  y[i] = x[i] + x[i]\n}\n"


@pytest.fixture
def double(tmp_path: Path) -> Path:
    path = tmp_path / "double.gir"
    path.write_text(DOUBLE)
    return path


def ends(code: int, arguments: list[Any]) -> None:
    assert cli.run([str(a) for a in arguments]) == code


def test_run_reads_computes_and_writes(double: Path, tmp_path: Path, capsys: Any) -> None:
    np.save(tmp_path / "x.npy", np.arange(5, dtype=np.float32))
    ends(0, ["run", double, "--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy", "--check"])
    assert np.load(tmp_path / "y.npy").tolist() == [0, 2, 4, 6, 8]
    out = capsys.readouterr()
    assert "y: f32[5]" in out.out and "largest error 0" in out.out and out.err == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["double.gir", "x.npy", "y.npy"]


def test_run_on_random_inputs(double: Path, capsys: Any) -> None:
    ends(0, ["run", double, "--random", "--bind", "N=7", "--check"])
    assert "y: f32[7]" in capsys.readouterr().out
    ends(1, ["run", double, "--random"])
    assert "--bind" in capsys.readouterr().err


def test_run_says_what_is_missing_or_unknown(double: Path, tmp_path: Path, capsys: Any) -> None:
    ends(1, ["run", double])
    assert "needs input x" in capsys.readouterr().err
    ends(1, ["run", double, "--input", "z=a.npy"])
    assert "no input 'z'" in capsys.readouterr().err
    ends(1, ["run", double, "--input", f"x={tmp_path}/none.npy"])
    assert "cannot read" in capsys.readouterr().err
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    ends(1, ["run", double, "--input", f"x={tmp_path}/bad.npy"])
    assert "is not an array file" in capsys.readouterr().err
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    ends(1, ["run", double, "--input", f"x={tmp_path}/objects.npy"])
    assert "is not an array file" in capsys.readouterr().err
    np.save(tmp_path / "wide.npy", np.ones(3))
    ends(1, ["run", double, "--input", f"x={tmp_path}/wide.npy"])
    assert "dtype f64, it must be f32" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(double: Path, tmp_path: Path, capsys: Any) -> None:
    ends(1, ["run", double, "--random", "--bind", "N=3", "--output", f"y={tmp_path}/no/such/y.npy"])
    assert "cannot write" in capsys.readouterr().err


def test_compile_writes_what_load_reads(double: Path, tmp_path: Path, capsys: Any) -> None:
    import weft

    ends(0, ["compile", double, "--bind", "N=4", "-o", tmp_path / "out"])
    listed = capsys.readouterr().out.split()
    assert str(tmp_path / "out" / "manifest.json") in listed
    assert weft.load(tmp_path / "out")(np.ones(4, np.float32)).tolist() == [2.0] * 4
    ends(0, ["compile", double, "--bind", "N=4", "-o", tmp_path / "out", "--emit", "source"])
    assert "manifest.json" not in os.listdir(tmp_path / "out")


def test_compile_leaves_other_directories_alone(double: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    ends(1, ["compile", double, "-o", tmp_path / "mine"])
    assert "holds something else: letter.txt" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["double.gir", "mine"]


def test_opt_prints_after_passes(double: Path, capsys: Any) -> None:
    ends(0, ["opt", double, "--passes", "simplify,dce", "--print-ir-after", "all"])
    out = capsys.readouterr().out
    assert "# after simplify\nop double" in out and "# after dce\nop double" in out
    ends(0, ["opt", double])
    assert capsys.readouterr().out.startswith("program double")
    ends(0, ["opt", double, "--passes", "inline{max_cost=3},lower,dead_store", "--print-ir-after", "dead_store"])
    assert "# after dead_store\nprogram double" in capsys.readouterr().out


@pytest.mark.parametrize(
    "passes,message",
    [
        ("nothing", "no pass 'nothing'"),
        ("inline{depth=3}", "no option 'depth'"),
        ("inline{max_cost=x}", "not a value of type int"),
        ("inline{", "not a list of passes"),
        ("dead_store", "works on the form 'gir'"),
        ("lower,inline", "works on the form 'op'"),
    ],
)
def test_opt_refuses_what_is_no_pass(double: Path, capsys: Any, passes: str, message: str) -> None:
    ends(1, ["opt", double, "--passes", passes])
    assert message in capsys.readouterr().err


def test_opt_lists_passes(capsys: Any) -> None:
    ends(0, ["opt", "--list"])
    assert "inline (op) {max_cost=" in capsys.readouterr().out


def test_inspect(double: Path, capsys: Any) -> None:
    ends(0, ["inspect", double, "--bind", "N=1024", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["kernel"] == "double" and data["target"] == "cpu"
    ends(0, ["inspect", double, "--bind", "N=1024"])
    assert "compulsory" in capsys.readouterr().out
    ends(0, ["inspect", double, "--text", "gir"])
    assert capsys.readouterr().out.startswith("program double")


def test_doctor(capsys: Any) -> None:
    ends(0, ["doctor", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["targets"]["cpu"].startswith("ready")
    assert data["packages"]["numpy"] == np.__version__
    ends(0, ["doctor"])
    assert "WEFT_THREADS" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["run"], ["run", "f", "--bad"], ["run", "F", "--bind", "N"], ["compile", "F"], ["--bad"]]
    + [["compile", "F", "-o", "d", "--emit", "nothing"], ["run", "F", "--input", "x"], ["run", "F", "--threads", "0"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str], double: Path, capsys: Any) -> None:
    ends(2, [double if a == "F" else a for a in arguments])
    assert "Traceback" not in capsys.readouterr().err


def test_help_and_version(capsys: Any) -> None:
    ends(0, ["--help"])
    assert "doctor" in capsys.readouterr().out
    ends(0, ["--version"])
    ends(0, ["run", "--help"])


BAD = {
    "empty": b"",
    "binary": bytes(range(256)),
    "truncated": DOUBLE[:30].encode(),
    "undefined": b"op f(x: f32[N]) -> (y: f32[N]) { y[i] = z[i] }",
    "nested": b"op f(x: f32[N]) -> (y: f32[N]) { y[i] = " + b"(" * 5000 + b"x[i]" + b")" * 5000 + b" }",
}


@pytest.mark.parametrize("name", sorted(BAD))
@pytest.mark.parametrize("command", [["opt"], ["run", "--random"], ["inspect"]])
def test_bad_programs_are_the_users_fault(name: str, command: list[str], tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / f"{name}.gir"
    path.write_bytes(BAD[name])
    ends(1, [command[0], path, *command[1:]])
    error = capsys.readouterr().err
    assert error.startswith("weft: ") and "Traceback" not in error


def test_missing_file(capsys: Any) -> None:
    ends(1, ["opt", "no-such.gir"])
    assert "cannot read no-such.gir: No such file" in capsys.readouterr().err


def test_unknown_target(double: Path, capsys: Any) -> None:
    ends(1, ["run", double, "--target", "abacus", "--random", "--bind", "N=1"])
    assert "unknown target 'abacus'" in capsys.readouterr().err


def test_our_bugs_end_with_70_and_a_reproducer(
    double: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weft.compiler import driver

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(driver, "lower", broken)
    ends(70, ["run", double, "--random", "--bind", "N=3"])
    error = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in error and "Traceback" not in error
    (report,) = (tmp_path / "cache" / "reproducers").iterdir()
    assert str(report) in error
    text = report.read_text()
    assert "op double" in text and "--bind N=3" in text and "# ZeroDivisionError: oops" in text
    assert (tmp_path / "cache" / "reproducers").stat().st_mode & 0o077 == 0


def _writer(fifo: Path) -> int:
    """The writing end, as soon as somebody waits at the reading one."""
    for _ in range(600):
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.1)
    raise AssertionError("nobody reads")


def test_interruption_is_clean(tmp_path: Path) -> None:
    fifo = tmp_path / "x.npy"
    os.mkfifo(fifo)  # nobody writes: the command waits
    (tmp_path / "d.gir").write_text(DOUBLE)
    command = [sys.executable, "-m", "weft", "run", str(tmp_path / "d.gir"), "--input", f"x={fifo}"]
    # a parent in the background may ignore the signal, and children inherit that
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    writer = _writer(fifo)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    os.close(writer)
    assert process.returncode == 130
    assert error.strip() == "weft: interrupted"


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "weft", "doctor"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()
    assert process.returncode == 0 and error == b""
