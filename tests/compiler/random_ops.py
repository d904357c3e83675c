"""Random ops as text: pointwise chains with boundaries and narrow types, reductions, recurrences, integers."""

from __future__ import annotations

import random

UNARY = ("abs({})", "-({})", "exp({})", "sqrt({})", "tanh({})", "f32(bf16({}))", "f32(f64({}))", "floor({})")
BINARY = ("({} + {})", "({} - {})", "({} * {})", "({} / {})", "max({}, {})", "min({}, {})")
LITERALS = ("1.0", "-1.0", "0.0", "-0.0", "0.5", "4.0", "3.0", "inf", "1e-40", "-inf")
INTEGERS = ("i", "j", "(i + j)", "(2 * i - j + 1)", "((4 * i + j) // 4)", "((4 * j + i) % 4)", "(i // 2)", "(j % 3)")
INTEGERS += ("max(i, 0)", "min(j, N - 1)", "((i * 6 + j + 12) // 3)", "(i * 0)", "((i // 2) // 3)", "(i + j) % 12 % 4")
CONDITIONS = (
    "i >= j",
    "0 <= i",
    "j < N",
    "not (i < j)",
    "i == j + 1",
    "x[i, j] > 0.0",
    "x[i, j] == x[i, j]",
    "i - j <= 2",
)
CONDITIONS += ("not (x[i, j] < 0.5)", "(i > 1 and i > 1)", "(j >= 0 or i < 2)", "isnan(x[i, j])", "j + 1 > N")


class RandomOp:
    """One op text from a seed. All definitions are over [i, j] (M by N) or [i]."""

    def __init__(self, seed: int, definitions: int = 5) -> None:
        self.random = random.Random(seed)
        self.wide = ["x", "z"]
        self.rows = ["u"]
        lines = [self.definition(k) for k in range(definitions)]
        outputs = self.random.sample(self.made, min(len(self.made), 2))
        heads = ", ".join(f"{n}: {t}[{s}]" for n, t, s in sorted(outputs))
        self.text = f"op f(x: f32[M, N], z: bf16[M, N], u: f32[M]) -> ({heads}) {{\n" + "\n".join(lines) + "\n}"

    made: list[tuple[str, str, str]]

    def definition(self, k: int) -> str:
        if k == 0:
            self.made = []
        pick = self.random.random()
        name = f"t{k}"
        if pick < 0.2:
            monoid = self.random.choice(("sum", "max", "min", "prod"))
            guard = f" where {self.random.choice(CONDITIONS)}" if self.random.random() < 0.5 else ""
            self.made.append((name, "f32", "M"))
            line = f"  {name}[i: M]: f32 = {monoid}[j: N{guard}] ({self.expr(2)})"
            self.rows.append(name)
        elif pick < 0.3:
            self.made.append((name, "f32", "M, N"))
            line = f"  {name}[i: M, j: N] = 0.5 * {name}.pad({self.leaf_row()})[i, j - 1] + {self.expr(2)}"
            self.wide.append(name)
        else:
            dtype = self.random.choice(("f32", "f32", "f32", "bf16", "f16"))
            self.made.append((name, dtype, "M, N"))
            line = f"  {name}[i: M, j: N]: {dtype} = {self.expr(self.random.choice((1, 2, 3)))}"
            self.wide.append(name)
        return line

    def leaf_row(self) -> str:
        return f"{self.random.choice(self.rows)}[i]"

    def leaf(self) -> str:
        pick = self.random.random()
        name = self.random.choice(self.wide[-3:] if self.random.random() < 0.7 else self.wide)
        if pick < 0.15:
            return self.random.choice(LITERALS)
        if pick < 0.25:
            return f"f32({self.random.choice(INTEGERS)})"
        if pick < 0.35:
            return self.leaf_row()
        if pick < 0.6:
            mode = self.random.choice(("clamp", "wrap", "reflect", "pad(0.5)", "pad(inf)"))
            i, j = self.random.choice((("i + 1", "j"), ("i", "j - 1"), ("i - 2", "j + 1"), ("j", "i"), ("i", "2 * j")))
            return f"{name}.{mode}[{i}, {j}]"
        return f"{name}[i, j]"

    def expr(self, depth: int) -> str:
        if depth == 0:
            return self.leaf()
        pick = self.random.random()
        if pick < 0.3:
            return self.random.choice(UNARY).format(self.expr(depth - 1))
        if pick < 0.45:
            condition = self.random.choice(CONDITIONS)
            return f"({self.expr(depth - 1)} if {condition} else {self.expr(depth - 1)})"
        return self.random.choice(BINARY).format(self.expr(depth - 1), self.expr(depth - 1))
