"""Programs that must fail: the message, the place and the remedy. `^` in a case marks the reported column."""

from __future__ import annotations

import pytest
from weft.ir.errors import ParseError, TypeMismatch, UserError, VerifyError
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify

HEAD = "op f(x: f32[M, N], z: f32[K], n: i32[M], c: i64) -> (y: f32[M]) {{\n{}\n}}"

CASES: list[tuple[str, type[UserError], str, str]] = [
    ("y[i] = sum[j] ^q[i, j]", VerifyError, "unknown tensor `q`", ""),
    ("y[i] = sum[j] ^xx[i, j]", VerifyError, "unknown tensor `xx`", "did you mean `x`"),
    ("y[i] = sum[j] ^x[i]", VerifyError, "has 2 dimension", "one index per dimension"),
    ("y[i] = x[i, ^j]", VerifyError, "unknown name `j`", ""),
    ("y[i] = ^t[i]\nt[i] = x[i, 0]", VerifyError, "read before its definition", "move its definition up"),
    ("y[i] = sum[j] (x[i, j] ^* j)", TypeMismatch, "f32 meets i64", "cast"),
    ("y[i] = f32(n[i] ^/ 2)", TypeMismatch, "is for floats", "//"),
    ("y[i] = sum[j] x[i, j] ^% 2", TypeMismatch, "is for integers", "floor"),
    ("y[i] = 1.0 if ^x[i, 0] else 0.0", TypeMismatch, "f32 stands where bool", ""),
    ("^y[i] = n[i]", TypeMismatch, "stored in `y`", "cast"),
    ("y[i] = sum[^j] x.clamp[i, 2 * j]", VerifyError, "extent of the axis `j` is not known", "j: N"),
    ("y[i] = sum[^j] x[i, j] * z[j]", VerifyError, "has extent N in `x` and K in `z`", "where N == K"),
    ("y[i] = sum[^i] x[i, i]", VerifyError, "already in use", "rename"),
    ("y[i] = sum[^M] x[i, M]", VerifyError, "name of a symbol", "rename"),
    ("^y[i, i] = x[i, i]", VerifyError, "same name", ""),
    ("^sum[i] = x[i, 0]", ParseError, "reserved word", ""),
    ("y[i] = ^foo(x[i, 0])", VerifyError, "unknown function", ""),
    ("y[i] = exp^ x[i, 0]", ParseError, "", ""),
    ("y[i] = x[i, 0^", ParseError, "expected `]`", ""),
    ("y[i] = 0 < x[i, 0] ^< 1", ParseError, "do not chain", "and"),
    ("y[i] = x.^mirror[i, 0]", ParseError, "unknown boundary", "reflect"),
    ("y[i] = ^x[i, 0] + x[i, 1]", VerifyError, "index 1 of `x`", "clamp"),
    ("y[i] = ^x[i + 1, c]", VerifyError, "index 0 of `x`", "clamp"),
    ("t[i: M] = i * 2\ny[i] = ^z[t[i]]", VerifyError, "computed index", "clamp"),
    ("y[i] = ^y[i - 1]", VerifyError, "index 0 of `y`", ".pad"),
    ("y[i] = ^y.pad(0)[i]", VerifyError, "the element being computed", "earlier"),
    ("y[i] = y.pad(0)[i - 1] + ^y.pad(0)[i + 1]", VerifyError, "both earlier and later", "split"),
    ("y[i] = ^y.pad(0)[2 * i]", VerifyError, "offset that is not constant", ""),
    ("y[i] = ^y.clamp[i - 1]", VerifyError, "boundary clamp", ".pad"),
    ("y[i] = sum[j] ^y.pad(0)[i - 1] * x[i, j]", VerifyError, "inside a reduction", "own definition"),
    ("t[i] = x[i, 0]", VerifyError, "output `y` is never defined", ""),
    ("^y[i, j] = x[i, j]", VerifyError, "declared with 1 dimensions", ""),
    ("y[i] = all[j] ^x[i, j]", VerifyError, "", ""),
    ("y[i]^", ParseError, "expected `=`", ""),
    ("y[i] = x[i, 0] where", ParseError, "", ""),
]


@pytest.mark.parametrize("body, kind, message, remedy", CASES, ids=range(len(CASES)))
def test_error(body: str, kind: type[UserError], message: str, remedy: str) -> None:
    text = HEAD.format(body.replace("^", ""))
    with pytest.raises(kind) as caught:
        verify(parse_op(text, "case.gir"))
    error = caught.value
    assert message in error.message, str(error)
    assert remedy in error.remedy, str(error)
    assert "\n" not in error.message


@pytest.mark.parametrize("body", [c[0] for c in CASES if "^" in c[0] and c[2]])
def test_place(body: str) -> None:
    with pytest.raises(UserError) as caught:
        verify(parse_op(HEAD.format(body.replace("^", "")), "case.gir"))
    error = caught.value
    line = next(k for k, part in enumerate(body.split("\n"), 2) if "^" in part)
    column = body.split("\n")[line - 2].index("^") + 1
    assert error.location.file == "case.gir"
    if error.location.line == line:
        assert error.location.column in (column, column + 1), str(error)
    else:  # at the end of a line the next token is the one that is not expected
        assert body.split("\n")[line - 2].endswith("^") and error.location.line == line + 1, str(error)


def test_a_caret_stands_below_what_is_wrong() -> None:
    with pytest.raises(UserError) as caught:
        parse_op("op f(x: f32[M]) -> (y: f32[M]) {\n  y[i] = x[i] + w[i]\n}", "a.gir")
    assert str(caught.value).split("\n")[:3] == [
        "a.gir:2:17: unknown tensor `w`",
        "    y[i] = x[i] + w[i]",
        "                  ^",
    ]
