"""Random legal ops as text, and random inputs for them: a pure function of the seed.

Every kind of definition, boundary, guard and element type occurs. Values stay moderate and decisions (guards by value,
lists, arg-reductions) are taken on inputs alone, so that results of different precision can be compared.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from weft.ir.op import Op

EXTENTS = ("M", "N", "K", "3", "5")
FLOATS = ("f32", "f32", "f64", "bf16", "f16")
INTEGERS = ("i32", "i64", "i8", "u8", "i16")
LSE = """monoid lse(m, s) {
  identity (-inf, 0.0)
  combine(a, b) = (max(a.m, b.m),
    (a.s if a.m == max(a.m, b.m) else a.s * exp(a.m - max(a.m, b.m))) +
    (b.s if b.m == max(a.m, b.m) else b.s * exp(b.m - max(a.m, b.m))))
}
"""
LAST = "monoid last(v) ordered { identity (nan) combine(a, b) = (a.v if isnan(b.v) else b.v) }\n"


class RandomOp:
    """Builds the text of one op; `text` is the result."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tensors: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.inputs: list[str] = []
        self.lines: list[str] = []
        self.head = ""
        self.count = 0
        for k in range(self.rng.randint(2, 4)):
            dtype = self.rng.choice(FLOATS if k < 2 else INTEGERS + FLOATS)
            shape = tuple(self.rng.choice(EXTENTS) for _ in range(self.rng.randint(0 if k else 1, 3)))
            self.tensors[f"x{k}"] = (dtype, shape)
            self.inputs.append(f"x{k}")
        given = [f"{n}: {d}{'[' + ', '.join(s) + ']' if s else ''}" for n, (d, s) in self.tensors.items()]
        made = [self.definition() for _ in range(self.rng.randint(1, 5))]
        results = [n for names in made for n in names]
        chosen = [n for n in results if self.rng.random() < 0.5] or results[-1:]
        if results[-1] not in chosen:
            chosen.append(results[-1])
        out = [f"{n}: {d}{'[' + ', '.join(s) + ']' if s else ''}" for n, (d, s) in self.tensors.items() if n in chosen]
        body = "\n".join(f"  {line}" for line in self.lines)
        self.text = f"{self.head}op random<M, N, K>({', '.join(given)}) -> ({', '.join(out)}) {{\n{body}\n}}\n"

    # definitions ---------------------------------------------------------------------------------------------------

    def definition(self) -> list[str]:
        kinds = [self.pointwise] * 3 + [self.reduction] * 4 + [self.recurrence, self.lists, self.indices, self.user]
        return self.rng.choice(kinds)()

    def new(self, dtype: str, shape: tuple[str, ...]) -> str:
        self.count += 1
        name = f"t{self.count}"
        self.tensors[name] = (dtype, shape)
        return name

    def axes(self, names: str, least: int, most: int) -> dict[str, str]:
        return {n: self.rng.choice(EXTENTS) for n in names[: self.rng.randint(least, most)]}

    def left(self, name: str, free: dict[str, str], more: str = "") -> str:
        inside = ", ".join(f"{a}: {e}" for a, e in free.items())
        return f"{name}[{inside}]{more}" if free else f"{name}{more}"

    def pointwise(self) -> list[str]:
        free = self.axes("ijk", 0, 3)
        dtype = self.rng.choice(("f32", "f64", "bf16"))
        value = self.value(free, 3)
        name = self.new(dtype, tuple(free.values()))
        self.lines.append(f"{self.left(name, free, ': ' + dtype)} = {value}")
        return [name]

    def inner(self, free: dict[str, str]) -> tuple[dict[str, str], str]:
        """Reduction axes, and how they are written (ragged and shifted ones too)."""
        axes = self.axes("uv", 1, 2)
        written = []
        for axis, extent in axes.items():
            form = self.rng.random()
            if form < 0.6:
                written.append(f"{axis}: {extent}")
            elif form < 0.8 or not free:
                written.append(f"{axis} in min(1, {extent})..{extent}")
            else:
                written.append(f"{axis} in 0..min({self.rng.choice(list(free))} + 1, {extent})")
        return axes, ", ".join(written)

    def reduction(self) -> list[str]:
        free = self.axes("ijk", 0, 2)
        axes, written = self.inner(free)
        scope = {**free, **axes}
        guard = f" where {self.condition(scope)}" if self.rng.random() < 0.4 else ""
        monoid = self.rng.choice(("sum", "sum", "sum<f64>", "max", "min", "prod"))
        if monoid == "prod":
            summand = f"tanh({self.value(scope, 1)})"
        elif monoid == "sum" and self.rng.random() < 0.3:
            summand = f"{self.atom(scope)} * {self.atom(scope)}"
        else:
            summand = f"({self.value(scope, 2)})"
        dtype = self.rng.choice(("f32", "f64"))
        tail = f" * 0.5 + {self.value(free, 1)}" if self.rng.random() < 0.3 else ""
        name = self.new(dtype, tuple(free.values()))
        body = f"{monoid}[{written}{guard}] {summand}"
        self.lines.append(f"{self.left(name, free, ': ' + dtype)} = {f'({body}){tail}' if tail else body}")
        return [name]

    def recurrence(self) -> list[str]:
        free = self.axes("ijk", 1, 2)
        sign = self.rng.choice("+-")
        shifts = []
        for _ in range(self.rng.randint(1, 2)):
            position = self.rng.randrange(len(free))
            index = [f"{a} {sign} {self.rng.randint(1, 2)}" if k == position else a for k, a in enumerate(free)]
            fill = self.rng.choice(("0.0", "0.5", self.atom(free)))
            shifts.append((index, fill))
        value = self.narrow(self.value(free, 1))
        name = self.new("f32", tuple(free.values()))
        own = " + ".join(f"0.25 * {name}.pad({self.narrow(fill)})[{', '.join(index)}]" for index, fill in shifts)
        self.lines.append(f"{self.left(name, free, ': f32')} = {own} + 0.5 * ({value})")
        return [name]

    def narrow(self, value: str) -> str:
        return value if value in ("0.0", "0.5") else f"f32({value})"

    def lists(self) -> list[str]:
        free = self.axes("ij", 0, 1)
        extent = self.rng.choice(EXTENTS)
        scope = {**free, "u": extent}
        if self.rng.random() < 0.5:
            word = self.rng.choice(("argsort", "argsort_desc"))
            body = f"{word}[u: {extent}] {self.given(scope)}"
            name = self.new("i64", (*free.values(), extent))
            self.lines.append(f"{self.left(name, free)} = {body}")
            return [name]
        condition = self.condition(scope)
        name = self.new("i64", (*free.values(), extent))
        count = self.new("i64", tuple(free.values()))
        left = f"({name}, {count})[{', '.join(f'{a}: {e}' for a, e in free.items())}]"
        self.lines.append(f"{left} = compact[u: {extent} where {condition}]")
        return [name, count]

    def indices(self) -> list[str]:
        free = self.axes("ij", 0, 2)
        extent = self.rng.choice(EXTENTS)
        scope = {**free, "u": extent}
        word = self.rng.choice(("argmax", "argmin", "any", "all", "count"))
        dtype = "i64"
        if word in ("any", "all"):
            dtype = "bool"
            body = f"{word}[u: {extent}] ({self.condition(scope)})"
        elif word == "count":
            body = f"sum[u: {extent} where {self.condition(scope)}] 1"
        else:
            body = f"{word}[u: {extent}] {self.given(scope)}"
        name = self.new(dtype, tuple(free.values()))
        self.lines.append(f"{self.left(name, free)} = {body}")
        return [name]

    def user(self) -> list[str]:
        free = self.axes("ij", 1, 2)
        axes, written = self.inner(free)
        scope = {**free, **axes}
        if self.rng.random() < 0.3:
            self.head += "" if LAST in self.head else LAST
            body = f"last[{written}] f32({self.given(scope)})"
            name = self.new("f32", tuple(free.values()))
            self.lines.append(f"{self.left(name, free, ': f32')} = {body}")
            return [name]
        self.head += "" if LSE in self.head else LSE
        body = f"lse[{written}] (f32({self.value(scope, 1)}), 1.0)"
        name, other = self.new("f32", tuple(free.values())), self.new("f32", tuple(free.values()))
        self.lines.append(f"({name}, {other})[{', '.join(f'{a}: {e}' for a, e in free.items())}] = {body}")
        return [name, other]

    # expressions ---------------------------------------------------------------------------------------------------

    def value(self, scope: dict[str, str], depth: int) -> str:
        """A float expression."""
        if depth == 0 or self.rng.random() < 0.15:
            return self.atom(scope)
        a = self.value(scope, depth - 1)
        form = self.rng.randrange(9)
        if form < 3:
            return f"{a} {self.rng.choice('+-*')} {self.value(scope, depth - 1)}"
        if form == 3:
            return f"{self.rng.choice(('tanh', 'sigmoid', 'sin', 'erf', 'abs'))}({a})"
        if form == 4:
            return f"{self.rng.choice(('max', 'min'))}({a}, {self.value(scope, depth - 1)})"
        if form == 5:
            return f"exp(-abs({a}))"
        if form == 6:
            return f"({a}) / (1.0 + ({self.value(scope, depth - 1)}) ** 2)"
        if form == 7:
            return f"({a} if {self.condition(scope)} else {self.value(scope, depth - 1)})"
        return f"-({a})"

    def atom(self, scope: dict[str, str]) -> str:
        form = self.rng.random()
        if form < 0.15:
            return self.rng.choice(("0.5", "1.0", "-0.25", "2.0"))
        if form < 0.25 and scope:
            return f"f32({self.rng.choice(list(scope))} % 7) * 0.125"
        name = self.rng.choice(list(self.tensors))
        return self.float_of(name, self.read(name, scope))

    def given(self, scope: dict[str, str]) -> str:
        """A read of an input as a float."""
        name = self.rng.choice(self.inputs)
        return self.float_of(name, self.read(name, scope))

    def float_of(self, name: str, read: str) -> str:
        dtype = self.tensors[name][0]
        if dtype == "bool":
            return f"f32({read})"
        return f"f32({read} % 16) * 0.0625" if dtype in (*INTEGERS,) else read

    def read(self, name: str, scope: dict[str, str]) -> str:
        dtype, shape = self.tensors[name]
        if not shape:
            return name
        index, inside = [], True
        for extent in shape:
            same = [a for a, e in scope.items() if e == extent]
            if same and self.rng.random() < 0.8:
                index.append(self.rng.choice(same))
                continue
            inside = False
            axis = self.rng.choice(list(scope)) if scope else str(self.rng.randint(0, 3))
            forms = (axis, f"{axis} + 1", f"{axis} - 1", f"2 * {axis} - 1", f"{axis} // 2", f"{extent} - 1 - {axis}")
            index.append(self.rng.choice(forms))
        fill = {"bool": "false"}.get(dtype, "1" if dtype in INTEGERS else "0.5")
        # an empty tensor has nothing to clamp, wrap or reflect to: only `pad` is defined for every extent
        mode = "" if inside and self.rng.random() < 0.9 else f".pad({fill})"
        fixed = all(e.isdigit() for e in shape)
        if mode and fixed:
            mode = self.rng.choice((mode, ".clamp", ".wrap", ".reflect"))
        return f"{name}{mode}[{', '.join(index)}]"

    def condition(self, scope: dict[str, str]) -> str:
        axes = list(scope)
        if len(axes) > 1 and self.rng.random() < 0.6:
            a, b = self.rng.sample(axes, 2)
            return self.rng.choice((f"{a} <= {b}", f"{a} - {b} < 2", f"{a} != {b}", f"({a} + {b}) % 2 == 0"))
        if axes and self.rng.random() < 0.3:
            return f"not {self.rng.choice(axes)} == 1"
        return f"{self.given(scope)} > 0.25"


def random_inputs(op: Op, extents: dict[str, int], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays for an op of `RandomOp`."""
    rng = np.random.default_rng(seed)
    out = {}
    for t in op.inputs:
        shape = tuple(extents[e.name] if hasattr(e, "name") else int(e.value) for e in t.shape)  # type: ignore[attr-defined]
        if t.dtype.is_float:
            out[t.name] = np.asarray(rng.uniform(-1, 1, shape)).astype(t.dtype.numpy)
        else:
            out[t.name] = rng.integers(0, 16, shape).astype(t.dtype.numpy)
    return out
