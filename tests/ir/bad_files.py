"""Files that are no programs, or hardly: `bad_file(n)` is a pure function of n and of the programs in this repository.

Kinds, in turn: truncated, bits flipped, tokens shuffled, one token replaced by another of its kind (which mostly still
parses and fails, or does not, further in), lines mixed from two programs, and texts written to hurt. Both forms occur:
index notation and scheduled programs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from op_random import RandomOp
from weft.ir.op_printer import print_op
from weft.ir.op_text import parse_file

ROOT = Path(__file__).resolve().parents[2]
_TOKEN = re.compile(r"[A-Za-z_][\w$.]*|\d[\w.]*|\.\.|->|\*\*|//|[<>=!]=|\s+|.", re.DOTALL)


@cache
def whole_files() -> tuple[str, ...]:
    """Texts with comments, functions and several operators, as people write them."""
    return tuple(p.read_text() for folder in ("examples", "ops") for p in sorted((ROOT / folder).glob("*.gir")))


@cache
def programs() -> tuple[str, ...]:
    """Texts of one program each: operators of examples and library, random ones, and scheduled programs."""
    found = []
    for text in whole_files():
        if _is_scheduled(text):
            found += [text] * 4
        else:
            found += [print_op(op) for op in parse_file(text, "")]
    found += [RandomOp(seed).text for seed in range(40)]
    for path in sorted((ROOT / "tests" / "goldens").glob("*/*.gir")):
        sections = re.split(r"^####.*\n", path.read_text(), flags=re.MULTILINE)
        found += [s for s in sections if _is_scheduled(s)]
    return tuple(found)


def _is_scheduled(text: str) -> bool:
    return re.match(r"(\s*#.*\n)*\s*program ", text) is not None


def bad_file(number: int) -> bytes:
    rng = random.Random(number)
    kinds = (_truncated, _flipped, _shuffled, _replaced, _replaced, _replaced, _mixed, _hurtful)
    return kinds[number % len(kinds)](rng)


def _source(rng: random.Random) -> str:
    return rng.choice(whole_files() if rng.random() < 0.2 else programs())


def _truncated(rng: random.Random) -> bytes:
    data = _source(rng).encode()
    return data[: rng.randrange(len(data))]


def _flipped(rng: random.Random) -> bytes:
    data = bytearray(_source(rng).encode())
    for _ in range(rng.randint(1, 5)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8 if rng.random() < 0.2 else 5)
    return bytes(data)


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _shuffled(rng: random.Random) -> bytes:
    tokens = _tokens(_source(rng))
    for _ in range(rng.randint(1, 4)):
        first, second = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(3):
            case 0:
                tokens[first], tokens[second] = tokens[second], tokens[first]
            case 1:
                tokens.insert(first, tokens[second])
            case _:
                del tokens[first]
    return "".join(tokens).encode()


_NUMBERS = ("0", "1", "2", "3", "7", "64", "1000000", "2147483647", "2147483648", "4294967296", "9223372036854775807")
_NUMBERS += (
    "9223372036854775808",
    "99999999999999999999999",
    "-1",
    "0.5",
    "1e308",
    "1e-400",
    "inf",
    "nan",
    "3_i8",
    "M",
)
_TYPES = ("f64", "f32", "bf16", "f16", "i8", "i32", "i64", "u8", "bool")
_OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or", ",", "..", "=", ":")
_WORDS = (
    *("sum", "max", "min", "prod", "any", "all", "argmax", "compact", "argsort", "where", "if", "else", "not", "pad"),
    *("loop", "parallel", "unroll", "unit", "lanes", "sram", "reg", "dram", "load", "store", "move", "reduce", "sync"),
    *("input", "output", "temp", "stream", "repair", "exp", "log", "abs", "erf", "pow", "rsqrt", "isnan", "true"),
)


def _replaced(rng: random.Random) -> bytes:
    """Names become other names of the text, numbers other numbers, operators and types others."""
    tokens = _tokens(rng.choice(programs()))
    names = [t for t in tokens if re.match(r"[A-Za-z_]", t)]
    places = [k for k, t in enumerate(tokens) if not t.isspace() and t not in "{}()[]"]
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(places)
        old = tokens[at]
        if old in _TYPES:
            tokens[at] = rng.choice(_TYPES)
        elif old[0].isdigit():
            tokens[at] = rng.choice(_NUMBERS)
        elif old in _OPERATORS:
            tokens[at] = rng.choice(_OPERATORS)
        elif old == "@":
            tokens[at + 1 : at + 2] = [str(rng.randrange(4))]
        else:
            tokens[at] = rng.choice((*names, *names, *_NUMBERS, rng.choice(_WORDS)))
    return "".join(tokens).encode()


def _mixed(rng: random.Random) -> bytes:
    """Some lines of one program in the middle of another, or lines repeated."""
    first = _source(rng).splitlines(keepends=True)
    second = first if rng.random() < 0.4 else _source(rng).splitlines(keepends=True)
    at, start = rng.randrange(len(first) + 1), rng.randrange(len(second))
    part = second[start : start + rng.randint(1, 4)]
    return "".join(first[:at] + part * rng.choice((1, 1, 2, 300)) + first[at + rng.randrange(3) :]).encode()


def _op(body: str, shape: str = "M", where: str = "") -> str:
    return f"op f(x: f32[{shape}]) -> (y: f32[M]) {where} {{ {body} }}"


def _gir(body: str, shape: str = "N") -> str:
    return f"program p(N) {{ tensor x: f32[{shape}] input\ntensor y: f32[{shape}] output\nkernel k {{\n{body}\n}} }}"


def _many(rng: random.Random) -> int:
    return rng.choice((2, 30, 119, 120, 1000, 20_000))


def _power(rng: random.Random) -> int:
    return rng.choice((0, 1, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, 10**30))


_HURTFUL: tuple[Callable[[random.Random], str | bytes], ...] = (
    # deep and long
    lambda r: _op("y[i] = " + r.choice(("(", "-", "not ", "x[", "exp(", "sum[j] (", "2 ** ", "x.pad(")) * _many(r)),
    lambda r: _op("y[i] = " + "(" * (n := min(_many(r), 119)) + "x[i]" + " + 1.0)" * n),
    lambda r: _op("y[i] = " + r.choice((" + ", " * ", " - ", " / ", " ** ")).join(["x[i]"] * _many(r))),
    lambda r: _op("y[i] = " + "x[i] if i < 3 else " * _many(r) + "0.0"),
    lambda r: _op("; ".join(f"t{k}[i] = x[i] + {k}.0" for k in range(_many(r) // 10)) + "; y[i] = x[i]"),
    lambda r: _op("y[i] = " + " ".join(f"sum[j{k}]" for k in range(_many(r) // 100)) + " x[i]"),
    lambda r: _op("y[i] = x[i]", "M", "where " + ", ".join(["M > 0"] * min(_many(r), 1000))),
    lambda r: _op("y[i] = x[" + ", ".join(["i"] * min(_many(r), 1000)) + "]"),
    lambda r: _op("y[i] = x[i]", ", ".join(["M"] * min(_many(r), 1000))),
    lambda r: _gir("loop i in 0..N { " * _many(r)),
    lambda r: _gir("when N > 0 { " * (n := min(_many(r), 120)) + "sync dram\n" + "}" * n),
    lambda r: _gir("".join(f"loop i{k} in 0..2 {{\n" for k in range(60)) + "sync dram\n" + "}" * 60),
    lambda r: _gir("v: f32 = " + "(" * (n := min(_many(r), 119)) + "1.0" + " + 1.0)" * n),
    lambda r: _gir("\n".join(f"v{k}: f32 = 1.0" for k in range(_many(r)))),
    lambda r: "fn f0(x) = x + x\n" + "\n".join(f"fn f{k}(x) = f{k - 1}(x) * f{k - 1}(x)" for k in range(1, 60)),
    lambda r: (
        "fn f0(x) = x + x\n"
        + "\n".join(f"fn f{k}(x) = f{k - 1}(x) * f{k - 1}(x)" for k in range(1, r.choice((3, 6, 9, 12))))
        + "\nop f(x: f32[M]) -> (y: f32[M]) { y[i] = f2(f2(x[i])) }"
    ),
    # numbers
    lambda r: _op("y[i] = x[i]", str(_power(r))),
    lambda r: _op(f"y[i] = x[i * {_power(r)}]"),
    lambda r: _op(f"y[i] = x.{r.choice(('wrap', 'clamp', 'pad(1.0)'))}[i * {_power(r)} - {_power(r)}]"),
    lambda r: _op(f"y[i] = sum[j in {_power(r)}..{_power(r)}] x.clamp[j]"),
    lambda r: _op(f"y[i] = x[i // {_power(r)} % {_power(r)}]"),
    lambda r: _op(f"y[i] = f32({_power(r)} * {_power(r)} - i) * x[i]"),
    lambda r: _op(f"y[i] = x[i] ** {r.choice((0, 2, 3.0, 1000000, 1e30, -5, 0.5))}"),
    lambda r: _op(f"y[i] = x[i] * 1e{r.choice((308, 309, 99999999, -99999999))}"),
    lambda r: _op("y[i] = " + r.choice("123456789") * r.choice((19, 4301, 100_000))),
    lambda r: _op("y[i] = y.pad(0.0)[i - 1] + y.pad(0.0)[i + 1] + x[i]"),
    lambda r: _op(f"y[i] = y.pad(0.0)[i - {_power(r)}] + x[i]"),
    lambda r: _op("y[i] = x[i]", f"M // {_power(r)}, M % {_power(r)}"),
    lambda r: _op("y[i] = x[i]", "M", f"where M % {_power(r)} == {_power(r)}, M >= {_power(r)}"),
    lambda r: _gir(f"v = load<{_power(r)}> x[@0]"),
    lambda r: _gir(f"loop i in 0..N step {_power(r)} {{\nv = load<8> x[i + @0] where i + @0 < N else 0.0\n}}"),
    lambda r: _gir(f"unroll i in 0..{_power(r)} {{\nstore y[i] = 1.0 where i < N\n}}"),
    lambda r: _gir(f"unroll i in 0..{_many(r)} {{\nunroll j in 0..{_many(r)} {{\nstore y[i] = 1.0 where i < N\n}}\n}}"),
    lambda r: _gir(f"alloc a: f32[{_power(r)}] {r.choice(('sram', 'reg'))}\na[0] = 1.0"),
    lambda r: _gir(
        f"alloc a: f32<{r.choice((1, 4096, 10**6, 2**40))}> reg\na = 1.0\nstore<4> y[@0] = 0.0 where @0 < N"
    ),
    lambda r: _gir(f"loop i in {_power(r)}..{_power(r)} {{\nstore y[i] = 1.0 where i < N\n}}"),
    lambda r: _gir("v = load<" + ", ".join(["2"] * r.choice((3, 20, 64))) + "> x[@0]"),
    lambda r: _gir(f"t: f32<4> = f32(@{_power(r)})\nr = reduce add t over {_power(r)}"),
    lambda r: _gir(f"store y[i % {_power(r)} // {_power(r)}] = 1.0"),
    lambda r: _gir(f"store x[0] = {r.choice(('x', 'N', 'true', 'y[0]', '@0', 'inf'))} where N > 0"),
    lambda r: _gir("store y[0] = 1.0", f"{_power(r)}, N"),
    # bytes
    lambda r: bytes(r.randrange(256) for _ in range(r.randrange(2000))),
    lambda r: r.choice(
        (b"", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"#", b"op", b"program", b"\n" * 10_000, b"\x1b[31m")
    ),
    lambda r: _op("y[i] = x[i]").replace(" ", r.choice(("\r", "\t", "\f", "\u00a0", "\u202e", "\0", "\\\n"))),
    lambda r: _op("y[i] = x[i]").replace(
        "x", r.choice(("\u0445", "\U0001d465", "x" * 70_000, "for", "__class__", "$"))
    ),
    lambda r: "# " + "comment " * 100_000,
    lambda r: "op " + "a" * 1_000_000,
)


def _hurtful(rng: random.Random) -> bytes:
    text = rng.choice(_HURTFUL)(rng)
    return text if isinstance(text, bytes) else text.encode()
