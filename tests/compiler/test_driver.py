"""compile(), and what a kernel can say about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weft
from weft.compiler import driver
from weft.ir.errors import BindError, CallError, InternalError, ParseError, TargetError, UserError, VerifyError
from weft.ir.op_text import parse_op

SCALE = "op scale(x: f32[M, N], s: f32) -> (y: f32[M, N]) {\n  y[i, j] = x[i, j] * s\n}\n"
TWO = "op first(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] }\nop second(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + x[i] }\n"


@weft.op
def doubled(x: f32[M, N]) -> "y: f32[M, N]":  # noqa: F722, F821
    y[i, j] = x[i, j] + x[i, j]  # noqa: F821


@pytest.fixture
def x() -> np.ndarray[Any, Any]:
    return np.arange(12, dtype=np.float32).reshape(3, 4)


def test_every_kind_of_source(x: Any, tmp_path: Path) -> None:
    path = tmp_path / "scale.gir"
    path.write_text(SCALE)
    for source in (SCALE, path, str(path), parse_op(SCALE)):
        np.testing.assert_array_equal(weft.compile(source)(x, 2.0), x + x)
    np.testing.assert_array_equal(weft.compile(doubled)(x), x + x)


def test_one_operator_of_several() -> None:
    ones = np.ones(3, np.float32)
    assert weft.compile(TWO, entry="second")(ones).tolist() == [2.0] * 3
    with pytest.raises(UserError, match="holds 2 operators: first, second"):
        weft.compile(TWO)
    with pytest.raises(UserError, match="no operator 'third'"):
        weft.compile(TWO, entry="third")


def test_a_program_that_is_already_scheduled(x: Any) -> None:
    text = weft.compile(SCALE, bind={"M": 3, "N": 4}).text("gir")
    kernel = weft.compile(text)
    np.testing.assert_array_equal(kernel(x, 2.0), x + x)
    assert kernel.text("gir") == text
    with pytest.raises(UserError, match="has no op"):
        kernel.text("op")


def test_a_scheduled_program_is_checked_not_trusted() -> None:
    text = weft.compile(SCALE, bind={"M": 3, "N": 4}).text("gir")
    assert "tensor y: f32[3, 4] output" in text
    with pytest.raises(VerifyError):
        weft.compile(text.replace("tensor y: f32[3, 4] output", "tensor y: f32[3, 3] output"))


PART = """program part() {
  tensor x: f32[8] input
  tensor y: f32[8] output
  kernel part_0 {
    loop i in 0..4 step 1 {
      v = load<1> x[i + @0]
      store<1> y[i + @0] = v
    }
  }
}
"""


def test_what_a_hand_scheduled_program_leaves_out_is_zero() -> None:
    out = np.full(8, 7, np.float32)
    weft.compile(PART)(np.ones(8, np.float32), out=out)
    assert out.tolist() == [1.0] * 4 + [0.0] * 4


def test_bound_symbols_are_checked(x: Any) -> None:
    kernel = weft.compile(SCALE, bind={"M": 3})
    np.testing.assert_array_equal(kernel(x, 2.0), x + x)
    with pytest.raises(BindError, match=r"M = 3 \(from bind\)"):
        kernel(x[:2], 2.0)
    with pytest.raises(BindError, match=r"no symbol 'K'"):
        weft.compile(SCALE, bind={"K": 3})
    with pytest.raises(BindError, match="would be -1"):
        weft.compile(SCALE, bind={"M": -1})
    with pytest.raises(BindError, match="bytes"):
        weft.compile(SCALE, bind={"M": 2**40, "N": 2**40})


def test_symbolic_kernels_take_any_extent() -> None:
    kernel = weft.compile(SCALE, specialise="never")
    for shape in ((3, 4), (0, 5), (1, 1), (17, 33)):
        given = np.ones(shape, np.float32)
        np.testing.assert_array_equal(kernel(given, 3.0), given * 3)


def test_bad_requests() -> None:
    with pytest.raises(TargetError, match="unknown target"):
        weft.compile(SCALE, "abacus")
    with pytest.raises(UserError, match="has no option 'speed'"):
        weft.compile(SCALE, speed=3)
    with pytest.raises(UserError, match="not bool"):
        weft.compile(SCALE, search="yes")
    with pytest.raises(UserError, match="threads=0"):
        weft.compile(SCALE, threads=0)
    with pytest.raises(UserError, match='specialise=\'often\' is not "auto" or "never"'):
        weft.compile(SCALE, specialise="often")
    with pytest.raises(UserError, match="cannot compile a int"):
        weft.compile(3)
    with pytest.raises(UserError, match="cannot read"):
        weft.compile("no-such-file.gir")
    with pytest.raises(UserError, match="machine"):
        weft.compile(SCALE, machine="abacus")
    with pytest.raises(ParseError) as found:
        weft.compile("op f(x: f32[N]) -> (y: f32[N]) {\n  y[i] = x[i +]\n}")
    assert "<text>:2:15" in str(found.value) and "^" in str(found.value)


def test_a_kernel_says_what_it_is(x: Any) -> None:
    kernel = weft.compile(SCALE, bind={"M": 3, "N": 4})
    assert kernel.text("op") == SCALE or "op scale" in kernel.text("op")
    assert kernel.text("gir").startswith("program scale")
    assert "store" in kernel.text("graph")
    assert "define" in kernel.source
    assert kernel.cost().compulsory_bytes >= 2 * 12 * 4
    assert "scale(x: f32[M, N], s: f32[]) -> (y: f32[M, N]) on cpu" in repr(kernel)
    with pytest.raises(UserError, match="no form 'poem'"):
        kernel.text("poem")


def test_cost_of_given_extents() -> None:
    kernel = weft.compile(SCALE)
    small, large = kernel.cost(M=8, N=64), kernel.cost(M=80, N=64)
    assert large.compulsory_bytes > small.compulsory_bytes
    with pytest.raises(BindError, match="nothing determines symbol 'N'"):
        kernel.cost(M=8)


def test_numpy_and_outputs_of_the_caller(x: Any) -> None:
    kernel = weft.compile(SCALE)
    y = np.empty_like(x)
    assert kernel(x, 2.0, out=y) is y
    np.testing.assert_array_equal(y, x + x)
    with pytest.raises(CallError, match="overlaps"):
        kernel(x, 2.0, out=x)


def test_gathers_are_checked_at_the_call() -> None:
    kernel = weft.compile("op rows(x: f32[V], idx: i64[N]) -> (y: f32[N]) { y[i] = x[idx[i]] }")
    x = np.arange(4, dtype=np.float32)
    idx = np.array([3, 0, 1])
    assert kernel(x, idx).tolist() == [3, 0, 1]
    call = kernel.bind(x, idx)
    call()
    idx[1] = 4
    with pytest.raises(CallError, match=r"idx\[1\] is 4"):
        kernel(x, idx)
    with pytest.raises(CallError, match=r"idx\[1\] is 4"):
        call()


def test_a_bug_leaves_a_reproducer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(driver, "lower", broken)
    with pytest.raises(InternalError, match="compiling 'scale' for cpu: KeyError: 'lost'; a reproducer") as found:
        weft.compile(SCALE, bind={"M": 3, "N": 4})
    text = Path(found.value.reproducer).read_text()
    assert "op scale" in text and "--bind M=3 --bind N=4" in text and "KeyError" in text


def test_a_bug_whose_report_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(driver, "lower", lambda *_: 1 // 0)
    with pytest.raises(InternalError, match="ZeroDivisionError") as found:
        weft.compile(SCALE, bind={"M": 3, "N": 4})
    assert found.value.reproducer == ""


def test_the_same_input_gives_the_same_text() -> None:
    first, second = (weft.compile(SCALE, bind={"M": 3, "N": 4}) for _ in range(2))
    assert first.source == second.source and first.text("gir") == second.text("gir")
