"""Target `c` as a target: options, compiler errors, libraries, threads, sanitizers."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from c_running import run
from weft.backends.c import toolchain
from weft.backends.c.sanitize import run_sanitized
from weft.backends.target import get_target
from weft.ir.errors import ScheduleError, TargetError
from weft.ir.gir_parser import parse_program

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
DOUBLE = """
program twice(N) {
  tensor x: f32[N] input
  tensor y: f32[N] output
  kernel k {
    parallel unit i in 0..N {
      alloc s: f32[N, 2] sram
      move<1, 2> s[i, @1] = x[i]
      v = load<2> s[i, @0]
      w = reduce add v over 0
      store<1> y[i + @0] = w
    }
  }
}
"""
OUTSIDE = """
program outside(N) {
  tensor x: f32[N] input
  tensor y: f32[N] output
  kernel k {
    loop i in 0..N {
      v = load x[i + 1]
      store y[i] = v
    }
  }
}
"""


def test_options() -> None:
    assert [get_target(n).name for n in ("c", "c:libm", "c:sanitize")] == ["c", "c:libm", "c:sanitize"]
    with pytest.raises(TargetError, match="unknown option 'fast'"):
        get_target("c:fast")
    with pytest.raises(TargetError, match="avx512"):
        get_target("c", "abacus")


def test_text_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CC", "/nowhere/cc")
    target = get_target("c")
    assert "twice.h" in target.emit(parse_program(DOUBLE)).files
    with pytest.raises(TargetError, match="no C compiler"):
        target.load(parse_program(DOUBLE))
    monkeypatch.setenv("WEFT_CC", "cc 'unbalanced")
    with pytest.raises(TargetError, match="WEFT_CC"):
        target.load(parse_program(DOUBLE))


@needs_cc
def test_compiler_errors_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("int f(void) { return nonsense; }\n")
    with pytest.raises(TargetError, match="nonsense"):
        toolchain.run_compiler(["-c", "x.c"], tmp_path)


@needs_cc
def test_nothing_goes_through_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 24."""
    monkeypatch.setenv("WEFT_CC", f"cc -DX=$(touch${{IFS}}{tmp_path}/owned) ;")
    with pytest.raises(TargetError):
        get_target("c").load(parse_program(DOUBLE))
    assert not (tmp_path / "owned").exists()


@needs_cc
def test_library(tmp_path: Path) -> None:
    path = tmp_path / "twice.so"
    get_target("c").library(parse_program(DOUBLE), str(path))
    assert os.listdir(tmp_path) == ["twice.so"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    x = np.arange(5, dtype=np.float32)
    y = np.zeros_like(x)
    twice = ctypes.CDLL(str(path)).twice
    assert twice(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(5)) == 0
    np.testing.assert_array_equal(y, 2 * x)


@needs_cc
def test_calls_from_many_threads() -> None:
    program = parse_program(DOUBLE)
    executable = get_target("c").load(program)
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=50 + seed).astype(np.float32)
        for _ in range(20):
            if not np.array_equal(run(program, executable, {"x": x}, {}, 2)["y"], 2 * x):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


@needs_cc
def test_scratch_that_does_not_fit_is_an_error() -> None:
    program = parse_program(DOUBLE.replace("f32[N, 2] sram", "f32[N, 4611686018427387904] sram"))
    with pytest.raises(TargetError, match="memory"):
        run(program, get_target("c").load(program), {"x": np.zeros(3, np.float32)}, {})


@needs_cc
def test_sanitizers_pass_and_fail() -> None:
    machine = get_target("c").machine
    x = np.arange(7, dtype=np.float32)
    np.testing.assert_array_equal(run_sanitized(parse_program(DOUBLE), {"x": x}, machine)["y"], 2 * x)
    with pytest.raises(TargetError, match="heap-buffer-overflow"):
        run_sanitized(parse_program(OUTSIDE), {"x": x}, machine)
    target = get_target("c:sanitize")
    program = parse_program(DOUBLE)
    np.testing.assert_array_equal(run(program, target.load(program), {"x": x}, {})["y"], 2 * x)


def test_scratch_of_unknown_size_is_refused() -> None:
    text = DOUBLE.replace("f32[N, 2] sram", "f32[i + 1, 2] sram")
    with pytest.raises(ScheduleError, match="not known before the kernel"):
        get_target("c").emit(parse_program(text))
