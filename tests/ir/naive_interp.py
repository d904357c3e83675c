"""An interpreter of the op form that computes one element at a time with Python numbers: a second opinion on
`interpret` with float64. Nothing is shared with it but the nodes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from weft.ir.dtypes import DType
from weft.ir.expr import Boundary, Call, Cast, Const, Expr, Fn, Param, Read, Var
from weft.ir.op import Axis, Compact, Op, Pointwise, Reduction, Sort


def _float(f: Any) -> Any:
    def safe(*args: float) -> float:
        try:
            return float(f(*args))
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan

    return safe


def _divide(a: float, b: float) -> float:
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)
    return a / b


FUNCTIONS: dict[Fn, Any] = {
    Fn.ADD: lambda a, b: a + b,
    Fn.SUB: lambda a, b: a - b,
    Fn.MUL: lambda a, b: a * b,
    Fn.DIV: _divide,
    Fn.FLOORDIV: lambda a, b: a // b if b else 0,
    Fn.MOD: lambda a, b: a % b if b else 0,
    Fn.NEG: lambda a: -a,
    Fn.ABS: abs,
    Fn.MAX: lambda a, b: math.nan if a != a or b != b else max(a, b),
    Fn.MIN: lambda a, b: math.nan if a != a or b != b else min(a, b),
    Fn.POW: _float(lambda a, b: a**b),
    Fn.EXP: _float(math.exp),
    Fn.TANH: math.tanh,
    Fn.SIGMOID: lambda a: 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a)),
    Fn.SIN: math.sin,
    Fn.ERF: math.erf,
    Fn.EQ: lambda a, b: a == b,
    Fn.NE: lambda a, b: a != b,
    Fn.LT: lambda a, b: a < b,
    Fn.LE: lambda a, b: a <= b,
    Fn.GT: lambda a, b: a > b,
    Fn.GE: lambda a, b: a >= b,
    Fn.AND: lambda a, b: a and b,
    Fn.OR: lambda a, b: a or b,
    Fn.NOT: lambda a: not a,
    Fn.ISNAN: lambda a: a != a,
}


class Naive:
    def __init__(self, op: Op, inputs: dict[str, Any], symbols: dict[str, int]) -> None:
        self.op = op
        self.symbols = symbols
        self.tensors: dict[str, Any] = {
            n: a.astype(np.float64) if op.tensors[n].dtype.is_float else a for n, a in inputs.items()
        }

    def run(self) -> dict[str, Any]:
        for d in self.op.definitions:
            for t in d.targets:
                shape = tuple(self.value(e, {}) for e in t.shape)
                kind = np.float64 if t.dtype.is_float else t.dtype.numpy
                self.tensors[t.name] = np.zeros(shape, dtype=kind)
            points = list(itertools.product(*(self.range(a, {}) for a in d.axes)))
            backward = False
            for read in d.self_reads:
                place = {a.name: 100 for a in d.axes}
                found = [self.value(e, place) for e in read.index]
                backward = found > [100] * len(found)
            for point in reversed(points) if backward else points:
                self.element(d, dict(zip((a.name for a in d.axes), point, strict=True)), point)
        return {t.name: self.tensors[t.name] for t in self.op.outputs}

    def range(self, axis: Axis, env: dict[str, int]) -> range:
        return range(self.value(axis.lo, env), self.value(axis.hi, env))

    def element(self, d: Any, env: dict[str, int], point: tuple[int, ...]) -> None:
        first = self.tensors[d.targets[0].name]
        match d.body:
            case Pointwise(expr):
                first[point] = self.value(expr, env)
            case Reduction() as r:
                state = [self.value(e, {}) for e in r.monoid.identity]
                for inner in self.inner(r.axes, env):
                    if r.guard is None or self.value(r.guard, inner):
                        new = [self.value(a, inner) for a in r.args]
                        params = {f"a.{c}": v for c, v in zip(r.monoid.components, state, strict=True)}
                        params.update({f"b.{c}": v for c, v in zip(r.monoid.components, new, strict=True)})
                        state = [self.value(c, params) for c in r.monoid.combine]
                for t, v in zip(d.targets, state, strict=True):
                    self.tensors[t.name][point] = v
            case Compact(axis, guard):
                found = [k for k in self.range(axis, env) if self.value(guard, {**env, axis.name: k})]
                first[point] = found + [-1] * (first.shape[-1] - len(found))
                self.tensors[d.targets[1].name][point] = len(found)
            case Sort(axis, key, descending):
                keys = [(self.value(key, {**env, axis.name: k}), k) for k in self.range(axis, env)]
                sign = -1 if descending else 1
                first[point] = [k for _, k in sorted(keys, key=lambda p: (p[0] != p[0], sign * p[0]))]

    def inner(self, axes: tuple[Axis, ...], env: dict[str, int]) -> Any:
        if not axes:
            yield env
            return
        for k in self.range(axes[0], env):
            yield from self.inner(axes[1:], {**env, axes[0].name: k})

    def value(self, expr: Expr, env: dict[str, Any]) -> Any:
        match expr:
            case Const(value):
                return value
            case Var(name):
                return env[name] if name in env else self.symbols[name]
            case Param(name):
                return env[name]
            case Cast(dtype, arg):
                found = self.value(arg, env)
                return float(found) if dtype.is_float else found != 0 if dtype is DType.BOOL else int(found)
            case Read():
                return self.read(expr, env)
            case Call(Fn.SELECT, (condition, a, b)):
                return self.value(a if self.value(condition, env) else b, env)
            case Call(fn, args):
                return FUNCTIONS[fn](*(self.value(a, env) for a in args))
        raise AssertionError(expr)

    def read(self, read: Read, env: dict[str, Any]) -> Any:
        array = self.tensors[read.tensor]
        place = []
        for k, n in zip((self.value(e, env) for e in read.index), array.shape, strict=True):
            if not 0 <= k < n:
                if read.boundary is Boundary.PAD:
                    return self.value(read.fill, env)
                assert read.boundary is not Boundary.NONE, read
                if read.boundary is Boundary.CLAMP:
                    k = min(max(k, 0), n - 1)
                elif read.boundary is Boundary.WRAP:
                    k %= n
                else:
                    while not 0 <= k < n:
                        k = -k if k < 0 else 2 * (n - 1) - k
            place.append(k)
        return array[tuple(place)].item()
