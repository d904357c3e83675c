"""Random chains of what real operators are made of, as text: a pure function of the seed.

`RandomOp` (op_random.py) draws from the grammar; these draw from the shapes of work that schedules are made for:
contractions with epilogues, masked normalisation with or without a weighted sum, moments, sums of rows and columns,
transposes, linear recurrences with a read-out, sweeps, windows, gathers. Values stay moderate, decisions are taken on
inputs alone.
"""

from __future__ import annotations

import random

SIZES = (1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 64, 67, 70, 96, 130)
MOST_POINTS = 60_000  # of M * N * K: the interpreter visits them all


class ChainOp:
    """`text` and `extents` of one op: a chain of one to three blocks over a matrix, each with random details."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"chain {seed}")
        self.inputs: dict[str, str] = {}
        self.lines: list[str] = []
        self.wanted: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.count = 0
        self.extents = {"M": self.size(), "N": self.size(), "K": self.size()}
        if self.rng.random() < 0.04:
            self.extents[self.rng.choice("MNK")] = 0
        while self.extents["M"] * self.extents["N"] * self.extents["K"] > MOST_POINTS:
            longest = max(self.extents, key=lambda name: self.extents[name])
            self.extents[longest] = self.size()
        value, rows, columns = self.array("M", "N"), "M", "N"
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            value, rows, columns = self.rng.choice(BLOCKS)(self, value, rows, columns)
        self.want(value, f"{rows}, {columns}")
        heads = ", ".join(f"{n}: {t}" for n, t in self.inputs.items())
        results = ", ".join(f"{n}: {self.types[n]}[{s}]" for n, s in self.wanted.items())
        body = "\n".join(f"  {line}" for line in self.lines)
        self.text = f"op chain<M, N, K>({heads}) -> ({results}) {{\n{body}\n}}\n"

    # parts -----------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        return self.rng.choice(SIZES)

    def new(self, letter: str = "t") -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def want(self, name: str, shape: str) -> None:
        """Make it an output; an input is copied first."""
        if name in self.inputs:
            rows, columns = shape.split(", ")
            name = self.define(f"i: {rows}, j: {columns}", f"0.5 * {name}[i, j]", "y")
        self.wanted[name] = shape

    def array(self, *shape: str, dtype: str | None = None) -> str:
        """A new input, or one of this shape and type that is there."""
        kind = dtype or self.rng.choice(("f32", "f32", "f32", "f32", "bf16", "f16"))
        declared = f"{kind}[{', '.join(shape)}]"
        same = [n for n, t in self.inputs.items() if t == declared]
        if same and self.rng.random() < 0.3:
            return self.rng.choice(same)
        name = self.new("x")
        self.inputs[name] = declared
        return name

    def define(self, axes: str, value: str, letter: str = "t", dtype: str = "f32") -> str:
        """`axes` as `i: M, j: N`; `@` in the value is the name of what is defined."""
        name = self.new(letter)
        self.types[name] = dtype
        self.lines.append(f"{name}[{axes}]: {dtype} = {value.replace('@', name)}")
        return name

    def guard(self, rows: str, columns: str) -> str:
        """` where ...` over i: rows and j: columns, or nothing."""
        if self.rng.random() < 0.5:
            return ""
        form = self.rng.randrange(7)
        if form == 4:
            return f" where {self.array(columns, dtype='i32')}[j] > 3"
        if form == 5 and rows == columns:
            name = self.array(rows, dtype="i32")
            return f" where {name}[i] // 4 == {name}[j] // 4"
        if form == 6:
            return f" where {self.array(rows, columns, dtype='f32')}[i, j] > -0.5"
        return f" where {('j <= i', 'j <= i and i - j < 5', '(i + j) % 3 != 1', 'j >= i - 2 or j < 3')[form % 4]}"

    def score(self, value: str) -> str:
        return self.rng.choice(("{}", "0.5 * {}", "tanh({})", "{} * {}", "{} + 0.25", "abs({})")).replace("{}", value)

    # blocks: (value over rows x columns) -> another one ---------------------------------------------------------------

    def product(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        out = self.rng.choice("MNK")
        along = self.rng.choice(("kj", "jk"))
        b = self.array(*((columns, out) if along == "kj" else (out, columns)))
        body = f"sum[k: {columns}] {a}[i, k] * {b}[{', '.join(along)}]"
        if self.rng.random() < 0.5:
            bias = self.rng.choice((f"{self.array(out)}[j]", f"{self.array(rows, out)}[i, j]", "0.25"))
            body = self.rng.choice((f"max(({body}) * 0.25 + {bias}, 0.0)", f"tanh({body}) * {bias}"))
        else:
            body = f"0.125 * ({body})"
        return self.define(f"i: {rows}, j: {out}", body), rows, out

    def weights(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        guard, axes = self.guard(rows, columns), f"i: {rows}, j: {columns}"
        inside = f"[j: {columns}{guard}]"
        s = self.define(axes, self.score(f"{a}[i, j]"), "s")
        m = self.define(f"i: {rows}", f"max{inside} {s}[i, j]", "m")
        if guard and self.rng.random() < 0.5:  # rows without any element give a number then
            m = self.define(f"i: {rows}", f"max({m}[i], -4.0)", "m")
        p = self.define(axes, f"exp({s}[i, j] - {m}[i])", "p")
        total = self.define(f"i: {rows}", f"sum{inside} {p}[i, j]", "l")
        form = self.rng.randrange(4)
        if form == 0:
            e = self.define(f"i: {rows}", f"{m}[i] + log({total}[i])", "y")
            self.want(e, rows)
            return a, rows, columns
        if form == 1:
            return self.define(axes, f"{p}[i, j] / {total}[i]"), rows, columns
        out = self.rng.choice("MNK")
        v = self.array(columns, out)
        o = self.define(f"i: {rows}, e: {out}", f"sum{inside} {p}[i, j] * {v}[j, e]", "o")
        return self.define(f"i: {rows}, e: {out}", f"{o}[i, e] / {total}[i]"), rows, out

    def moments(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        mean = self.define(f"i: {rows}", f"(sum[j: {columns}] {a}[i, j]) / f32({columns})", "a")
        var = self.define(f"i: {rows}", f"(sum[j: {columns}] ({a}[i, j] - {mean}[i]) ** 2) / f32({columns})", "v")
        scale = self.rng.choice(("1.0", f"{self.array(columns)}[j]"))
        value = f"({a}[i, j] - {mean}[i]) * rsqrt({var}[i] + 0.125) * {scale}"
        return self.define(f"i: {rows}, j: {columns}", value), rows, columns

    def sums(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        word = self.rng.choice(("sum", "max", "min", "sum<f64>"))
        if self.rng.random() < 0.5:
            s = self.define(f"j: {columns}", f"{word}[i: {rows}{self.guard(rows, columns)}] {a}[i, j]", "c")
            at, shape = "j", columns
        else:
            s = self.define(f"i: {rows}", f"{word}[j: {columns}{self.guard(rows, columns)}] {a}[i, j]", "r")
            at, shape = "i", rows
        if self.rng.random() < 0.5:
            self.want(s, shape)
            return a, rows, columns
        value = self.rng.choice((f"{a}[i, j] - 0.01 * {s}[{at}]", f"{a}[i, j] / (1.0 + abs({s}[{at}]))"))
        return self.define(f"i: {rows}, j: {columns}", value), rows, columns

    def transpose(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        value = self.rng.choice((f"{a}[i, j]", f"0.5 * {a}[i, j] + {self.array(columns, rows)}[j, i]"))
        return self.define(f"j: {columns}, i: {rows}", value, dtype=self.narrow()), columns, rows

    def narrow(self) -> str:
        return self.rng.choice(("f32", "f32", "bf16"))

    def scan(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        axes = f"i: {rows}, j: {columns}"
        decay = self.rng.choice(("1.0", "0.9", f"{self.array(columns)}[j]", f"{self.array(rows)}[i]"))
        if decay == "1.0":
            decay = "0.99"
        step = self.rng.choice(("i - 1, j", "i, j - 1", "i + 1, j", "i - 2, j"))
        start = self.rng.choice(("0.0", "0.5"))
        return self.define(axes, f"{decay} * @.pad({start})[{step}] + 0.25 * {a}[i, j]", "h"), rows, columns

    def state(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        inner = self.rng.choice(("3", "5", "8"))
        k, q = self.array(rows, inner), self.array(rows, inner)
        decay = self.rng.choice(("0.9", f"(0.5 + 0.4 * {self.array(rows)}[t])", f"tanh({self.array(inner)}[d])"))
        h = self.define(
            f"t: {rows}, d: {inner}, e: {columns}",
            f"{decay} * @.pad(0.0)[t - 1, d, e] + {k}[t, d] * {a}[t, e]",
            "h",
        )
        return self.define(f"t: {rows}, e: {columns}", f"sum[d: {inner}] {q}[t, d] * {h}[t, d, e]"), rows, columns

    def sweep(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        sign = self.rng.choice("+-")
        reads = [f"@.pad(0.0)[i {sign} 1, j]", f"@.pad(0.0)[i, j {sign} 1]"]
        if self.rng.random() < 0.4:
            reads.append(f"@.pad(0.5)[i {sign} 1, j {sign} 1]")
        value = f"({a}[i, j] + {' + '.join(reads)}) * 0.25"
        return self.define(f"i: {rows}, j: {columns}", value, "w"), rows, columns

    def window(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        mode = self.rng.choice(("pad(0.0)", "pad(0.5)"))
        reads = (f"{a}.{mode}[i - 1, j]", f"{a}.{mode}[i + 1, j]", f"{a}.{mode}[i, j + 1]", f"{a}.{mode}[i, j - 2]")
        value = " + ".join(self.rng.sample(reads, self.rng.randint(1, 3)))
        return self.define(f"i: {rows}, j: {columns}", f"0.3 * ({value}) - {a}[i, j]"), rows, columns

    def gather(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        index = self.array(rows, dtype="i32")
        value = f"{a}.pad(0.25)[{index}[i], j] + 0.5 * {a}[i, j]"
        return self.define(f"i: {rows}, j: {columns}", value), rows, columns

    def map(self, a: str, rows: str, columns: str) -> tuple[str, str, str]:
        more = self.rng.choice((f"{self.array(rows, columns)}[i, j]", f"{self.array(rows)}[i]", "1.5"))
        form = self.rng.choice(("{} * sigmoid({})", "0.5 * {} * (1.0 + erf({}))", "max({}, 0.0) - 0.1 * {}", "{} + @@"))
        value = form.replace("@@", more).replace("{}", f"{a}[i, j]")
        return self.define(f"i: {rows}, j: {columns}", value, dtype=self.narrow()), rows, columns


BLOCKS = (ChainOp.product, ChainOp.product, ChainOp.weights, ChainOp.weights, ChainOp.moments, ChainOp.sums)
BLOCKS += (ChainOp.transpose, ChainOp.scan, ChainOp.state, ChainOp.sweep, ChainOp.window, ChainOp.gather, ChainOp.map)
