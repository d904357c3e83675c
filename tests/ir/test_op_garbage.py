"""Text that is no program: always a UserError, soon, never another exception."""

from __future__ import annotations

import random
import time

import pytest
from op_random import RandomOp
from weft.ir.errors import UserError
from weft.ir.op_text import parse_file, print_op
from weft.ir.op_verify import verify

SEEDS = [RandomOp(seed).text for seed in range(12)]
ATTENTION = """# scores by a user's function
fn score(s, d) = s if d >= 0 else -inf
monoid lse(m, s) { identity (-inf, 0.0) combine(a, b) = (max(a.m, b.m), a.s + b.s) }
op attention<W = 4>(q: f32[S, D], k: f32[S, D], c: i32[S]) -> (o: f32[S]) where S % 16 == 0 {
  s[i, j] = score(0.125 * sum[d] q[i, d] * k[j, d], i - j)
  (m, l)[i] = lse[j in 0..c[i] where j <= i] (s[i, j], 1.0)
  o[i] = m[i] + log(l[i])
  stream[j] { m; l repair old.l * exp(old.m - new.m); }
}
"""


def survives(text: str) -> None:
    start = time.monotonic()
    try:
        for op in parse_file(text, "fuzz.gir"):
            print_op(op)
            verify(op)
    except UserError as error:
        assert str(error)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("text", [ATTENTION, *SEEDS[:2]], ids=["attention", "random0", "random1"])
def test_truncated(text: str) -> None:
    for end in range(0, len(text), 7):
        survives(text[:end])


def test_flipped_bits() -> None:
    rng = random.Random(1)
    for text in [ATTENTION, *SEEDS]:
        for _ in range(25):
            raw = bytearray(text.encode())
            for _ in range(rng.randint(1, 6)):
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            survives(raw.decode("utf-8", errors="replace"))


def test_tokens_moved() -> None:
    rng = random.Random(2)
    for text in [ATTENTION, *SEEDS]:
        words = text.replace("[", " [ ").replace("]", " ] ").replace(",", " , ").replace("(", " ( ").split(" ")
        for _ in range(20):
            mixed = list(words)
            for _ in range(rng.randint(1, 4)):
                mixed[rng.randrange(len(mixed))] = rng.choice(words)
            survives(" ".join(mixed))


@pytest.mark.parametrize("mark", ["(", "-", "not ", "x[", "f(", "1 if 1 else ", "sum[j] (", "2 ** ", "1 - (", "x.pad("])
def test_nested_deeply(mark: str) -> None:
    survives(f"op f(x: f32[M]) -> (y: f32[M]) {{ y[i] = {mark * 20_000}")
    survives(f"op f(x: f32[M]) -> (y: f32[M]) {{ y[i] = {mark * 119}1")


def test_long_sums_and_functions_that_double() -> None:
    survives("op f(x: f32[M]) -> (y: f32[M]) { y[i] = " + " + ".join(["x[i]"] * 50_000) + " }")
    fns = "fn f0(x) = x + x\n" + "\n".join(f"fn f{k}(x) = f{k - 1}(x) + f{k - 1}(x)" for k in range(1, 60))
    survives(fns)
    survives("fn f0(x) = x\n" + "\n".join(f"fn f{k}(x) = f{k - 1}(x) + 1.0" for k in range(1, 400)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "op\0f(x: f32) -> (y: f32) { y = x }",
        "\ufeffop f() -> () { }",
        "op f(x: f32[9" + "9" * 5000 + "]) -> (y: f32) { y = 1 }",
        "op f(x: f32[99999999999999999999]) -> (y: f32) { y = x[0] }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = 1e99999 }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = " + "1" * 100_000 + " }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = x[i] ** 2 ** 2 ** 2 }",
        "op f(x: f32[M // 0, M % 0]) -> (y: f32) { y = x[0, 0] }",
        "op f(x: f32[M ** 3]) -> (y: f32) { y = x[0] }",
        "op f(x: f32[x]) -> (y: f32) { y = x[0] }",
        "op f(x: f32[sum[j] j]) -> (y: f32) { y = x[0] }",
        "op f(x: f32[M.a]) -> (y: f32) { y = x[0] }",
        "op f(x: f32[@0]) -> (y: f32) { y = x[@0] }",
        "op f(x: f32[M]) -> (y: f32) where x { y = 1.0 }",
        "op f(x: f32[M]) -> (y: f32) where M { y = 1.0 }",
        "op f(x: f32[M]) -> (x: f32[M]) { }",
        "op f(x: f32[M]) -> (y: f32[M], y: f32[M]) { y[i] = x[i] }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = y[y[i]] }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = y.pad(y[i])[i - 1] }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = sum[j] y[j] }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i: y[0]] = x[i] }",
        "op f(x: f32[M]) -> (y: f32[M]) { (y)[i] = compact[j where x[j]] }",
        "op f(x: f32[M]) -> (y: f32[M]) { (y, z)[i] = argsort[j] x[j] }",
        "op f(x: f32[M]) -> (y: i64) { y = argmax[j, k] x[j] * x[k] }",
        "op f(x: f32[M]) -> (y: f32) { y = sum[j in 0..sum[k] k] x[j] }",
        "op f(x: i8[M]) -> (y: f32) { y = sum[j in x[j]..M] 1.0 }",
        "op f(x: bool[M]) -> (y: bool) { y = max[j] x[j] }",
        "op f(x: f32[M]) -> (y: f32) { y = sum<f16>[j] x[j] }",
        "op f(x: f32[M]) -> (y: f32) { y = sum<bool>[j] x[j] }",
        "monoid m() { } op f(x: f32[M]) -> (y: f32) { y = m[j] x[j] }",
        "monoid m(a) { identity (a) combine(a, b) = (a.a) }",
        "monoid m(v) { identity (0.0) combine(a, a) = (a.v) }",
        "monoid m(v: f16) { identity (0.0) combine(a, b) = (a.v) } op f(x: f32[M]) -> (y: f32) { y = m[j] x[j] }",
        "fn f(x) = f(x)",
        "fn f(x) = x[0]",
        "fn f(x, x) = x",
        "fn f(x) = sum[j] x",
        "op f(" + ", ".join(f"x{k}: f32[M]" for k in range(3000)) + ") -> (y: f32[M]) { y[i] = x0[i] }",
        "op f(x: f32[" + ", ".join(["M"] * 100) + "]) -> (y: f32) { y = 1.0 }",
        "op f(x: f32[M]) -> (y: f32[M]) { stream[j] { y repair old.z; } y[i] = x[i] }",
        "op f(x: f32[M]) -> (y: f32[M]) { y[i] = x[i] " + "; z[i] = x[i] " * 50 + "}",
    ],
    ids=range(43),
)
def test_adversarial(text: str) -> None:
    survives(text)
