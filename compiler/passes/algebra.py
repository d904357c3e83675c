"""Algebra of scalar expressions that changes no bit of any result: NaN, infinities, signed zeros and rounding included.

Floats: x * 1, x / 1, x + (-0), x - 0, -(-x), x * -1, and division by a power of two become what they are; constants are
folded through operations that IEEE 754 rounds correctly; never x * 0, x - x, x + 0, or the reciprocal of anything else.
Integers: affine normal form, floor division and modulo of known multiples, comparisons with one side's terms positive
and decided where the ranges of the axes decide them. Logic and casts: what holds of the values.
Expressions are elaborated (every literal typed) before and after. GIR's expressions may be simplified as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ...ir.affine import Affine, affine
from ...ir.dtypes import DType
from ...ir.expr import COMPARISONS, Call, Cast, Const, Coord, Expr, Fn, Read, Var, as_int, const, rewrite
from ...ir.folding import fold
from ...ir.ranges import Domain
from ...ir.scalar_functions import apply, cast, strong
from ...ir.typing import TypeEnv, infer

_CORRECTLY_ROUNDED = frozenset(
    {Fn.ADD, Fn.SUB, Fn.MUL, Fn.DIV, Fn.NEG, Fn.ABS, Fn.MAX, Fn.MIN, Fn.SQRT, Fn.FLOOR, Fn.CEIL, Fn.ROUND}
)
_SWAPPED = {Fn.GT: Fn.LT, Fn.GE: Fn.LE}
_OPPOSITE = {Fn.LT: Fn.GE, Fn.LE: Fn.GT, Fn.GT: Fn.LE, Fn.GE: Fn.LT, Fn.EQ: Fn.NE, Fn.NE: Fn.EQ}
_ROUNDS = 8  # sweeps to a fixpoint; each shrinks the expression or brings it nearer to the normal form


@dataclass(frozen=True)
class Algebra:
    """`env` types the leaves; `domain` is what is known of the variables at this place."""

    env: TypeEnv
    domain: Domain = field(default_factory=Domain)

    def simplify(self, expr: Expr) -> Expr:
        """The normal form of an elaborated expression."""
        for _ in range(_ROUNDS):
            new = rewrite(fold(expr), self.rule)
            if new == expr:
                break
            expr = new
        return expr

    def rule(self, e: Expr) -> Expr | None:
        match e:
            case Cast():
                return self._cast(e)
            case Call(Fn.SELECT, (c, a, b)):
                return self._select(e, c, a, b)
            case Call(Fn.AND | Fn.OR | Fn.NOT):
                return self._logic(e)
            case Call(fn, (a, b)) if fn in COMPARISONS:
                return self._comparison(e, fn, a, b)
            case Call():
                dtype = infer(e, self.env)
                if dtype.is_float:
                    return _float_rule(e, dtype)
                if dtype.is_int:
                    return self._integer(e, dtype)
        return None

    # integers ------------------------------------------------------------------------------------------------------

    def _integer(self, e: Call, dtype: DType) -> Expr | None:
        if dtype is DType.I64:
            form = affine(e)
            if form is not None:
                new = form.to_expr()
                return None if new == e else new
        match e:
            case Call(Fn.MAX | Fn.MIN, (a, b)) if a == b:
                return a
            case Call(Fn.MAX | Fn.MIN as fn, (a, b)) if dtype is DType.I64:
                if self.domain.proves(Call(Fn.LE, (a, b))):
                    return b if fn is Fn.MAX else a
                if self.domain.proves(Call(Fn.LE, (b, a))):
                    return a if fn is Fn.MAX else b
            case Call(Fn.NEG, (Call(Fn.NEG, (a,)),)):
                return a
            case Call(Fn.FLOORDIV | Fn.MOD as fn, (a, b)) if dtype is DType.I64:
                divisor = as_int(b)
                if divisor is not None and divisor > 0:
                    return self._divided(fn, a, divisor)
                if isinstance(b, Var) and self._within(a, b):
                    return const(0) if fn is Fn.FLOORDIV else a
        return None

    def _divided(self, fn: Fn, a: Expr, c: int) -> Expr | None:
        """(c * q + r) // c = q + r // c and (c * q + r) % c = r % c; r // c = 0 and r % c = r where 0 <= r < c."""
        match fn, a:
            case Fn.FLOORDIV, Call(Fn.FLOORDIV, (inner, by)) if (as_int(by) or 0) > 0:
                return Call(fn, (inner, const(c * (as_int(by) or 1))))
            case Fn.MOD, Call(Fn.MOD, (inner, by)) if (as_int(by) or 0) > 0 and (as_int(by) or 0) % c == 0:
                return Call(fn, (inner, const(c)))
        form = affine(a)
        if form is None:
            if not self._within(a, const(c)):
                return None
            return const(0) if fn is Fn.FLOORDIV else a
        whole = Affine(tuple((n, v // c) for n, v in form.terms if v % c == 0), form.constant // c)
        rest = form - whole * c
        within = self._within(rest.to_expr(), const(c))
        if fn is Fn.MOD:
            if within:
                return rest.to_expr()
            return None if rest == form else Call(fn, (rest.to_expr(), const(c)))
        if within:
            return whole.to_expr()
        if rest == form or (not whole.terms and form.constant % c):
            return None
        return Call(Fn.ADD, (whole.to_expr(), Call(fn, (rest.to_expr(), const(c)))))

    def _within(self, a: Expr, c: Expr) -> bool:
        """Whether 0 <= a < c."""
        return self.domain.proves(Call(Fn.AND, (Call(Fn.LE, (const(0), a)), Call(Fn.LT, (a, c)))))

    def _comparison(self, e: Call, fn: Fn, a: Expr, b: Expr) -> Expr | None:
        if infer(a, self.env) is not DType.I64:
            return Call(_SWAPPED[fn], (b, a), e.location) if fn in _SWAPPED else None
        new: Expr = _normal_comparison(fn, a, b) or e
        if not _is_plain(new):
            return None if new == e else new
        if self.domain.proves(new):
            return Const(True, DType.BOOL)
        if self.domain.refutes(new):
            return Const(False, DType.BOOL)
        return None if new == e else new

    # logic and choice ----------------------------------------------------------------------------------------------

    def _logic(self, e: Call) -> Expr | None:
        match e:
            case Call(Fn.NOT, (Call(Fn.NOT, (a,)),)):
                return a
            case Call(Fn.NOT, (Call(fn, (a, b)),)) if fn in _OPPOSITE:
                # With a NaN both `a < b` and `a >= b` are false; `==` and `!=` are opposites for every value.
                if fn in (Fn.EQ, Fn.NE) or not infer(a, self.env).is_float:
                    return Call(_OPPOSITE[fn], (a, b), e.location)
            case Call(Fn.AND | Fn.OR as fn, (a, b)):
                if a == b or (isinstance(b, Call) and b.fn is fn and a in b.args):
                    return b
                if isinstance(a, Call) and a.fn is fn and b in a.args:
                    return a
        return None

    def _select(self, e: Call, c: Expr, a: Expr, b: Expr) -> Expr | None:
        if a == b:
            return a
        match c:
            case Call(Fn.NOT, (inner,)):
                return Call(Fn.SELECT, (inner, b, a), e.location)
        if isinstance(a, Call) and a.fn is Fn.SELECT and a.args[0] == c:
            return Call(Fn.SELECT, (c, a.args[1], b), e.location)
        if isinstance(b, Call) and b.fn is Fn.SELECT and b.args[0] == c:
            return Call(Fn.SELECT, (c, a, b.args[2]), e.location)
        if isinstance(b, Call) and b.fn is Fn.SELECT and b.args[1] == a:
            return Call(Fn.SELECT, (Call(Fn.OR, (c, b.args[0])), a, b.args[2]), e.location)
        if isinstance(a, Const) and isinstance(b, Const) and isinstance(a.value, bool) and isinstance(b.value, bool):
            return c if a.value else Call(Fn.NOT, (c,))
        return None

    # casts ---------------------------------------------------------------------------------------------------------

    def _cast(self, e: Cast) -> Expr | None:
        if isinstance(e.arg, Const) and e.arg.dtype is not None:
            value = cast(strong(e.arg.value, e.arg.dtype), e.dtype)
            return Const(value.item(), e.dtype.arithmetic)
        source = infer(e.arg, self.env)
        if source is e.dtype:
            return e.arg
        if isinstance(e.arg, Read) and e.arg.fill is None and self.env.tensors.get(e.arg.tensor) is e.dtype:
            return e.arg
        if isinstance(e.arg, Cast):
            inner = infer(e.arg.arg, self.env)
            if e.arg.dtype is e.dtype:
                return e.arg
            # widening and back again: nothing was lost on the way
            if (inner, e.arg.dtype, e.dtype) in (
                (DType.F32, DType.F64, DType.F32),
                (DType.I32, DType.I64, DType.I32),
            ):
                return e.arg.arg
        return None


def _is_plain(e: Expr) -> bool:
    """Whether the domain can say anything about a comparison: integers made of variables and constants."""
    return isinstance(e, Var | Const | Coord) or (isinstance(e, Call) and all(map(_is_plain, e.args)))


def _normal_comparison(fn: Fn, a: Expr, b: Expr) -> Expr | None:
    """Of affine integers: positive terms on both sides, `<` or `<=`, one constant; None for others."""
    if fn in _SWAPPED:
        fn, a, b = _SWAPPED[fn], b, a
    left, right = affine(a), affine(b)
    if left is None or right is None:
        return Call(fn, (a, b))
    if not left.terms and not right.terms:
        return None
    form = right - left
    if fn is Fn.LT:
        fn, form = Fn.LE, form + Affine((), -1)
    if fn in (Fn.EQ, Fn.NE) and form.terms[0][1] < 0:
        form = form * -1
    low = Affine(tuple((n, -v) for n, v in form.terms if v < 0), 0)
    high = Affine(tuple(t for t in form.terms if t[1] > 0), 0)
    if fn is Fn.LE and form.constant == -1:
        fn = Fn.LT
    elif not high.terms and low.terms:
        high = Affine((), form.constant)
    elif form.constant < 0:
        low += Affine((), -form.constant)
    else:
        high += Affine((), form.constant)
    return Call(fn, (low.to_expr(), high.to_expr()))


def _float_rule(e: Call, dtype: DType) -> Expr | None:
    if e.fn in _CORRECTLY_ROUNDED and all(isinstance(a, Const) and a.dtype is dtype for a in e.args):
        value = np.asarray(apply(e.fn, [strong(a.value, dtype) for a in e.args if isinstance(a, Const)]))
        return Const(float(value), dtype)
    match e:
        case Call(Fn.MUL, (a, b)):
            for one, other in ((a, b), (b, a)):
                if _is(one, 1.0):
                    return other
                if _is(one, -1.0):
                    return Call(Fn.NEG, (other,), e.location)
        case Call(Fn.DIV, (a, Const(float() as c))):
            if c == 1.0:
                return a
            if _has_exact_reciprocal(c, dtype):
                return Call(Fn.MUL, (a, Const(1.0 / c, dtype)), e.location)
        case Call(Fn.POW, (a, Const(float() as c))) if c in (1.0, 2.0, 3.0, 4.0):
            # repeated products are at least as accurate as any power function is, and agree at every special value
            square = Call(Fn.MUL, (a, a), e.location)
            return {1.0: a, 2.0: square, 3.0: Call(Fn.MUL, (square, a)), 4.0: Call(Fn.MUL, (square, square))}[c]
        case Call(Fn.ADD, (a, b)):
            for zero, other in ((a, b), (b, a)):
                if _is(zero, -0.0):
                    return other
        case Call(Fn.SUB, (a, b)) if _is(b, 0.0):
            return a
        case Call(Fn.NEG, (Call(Fn.NEG, (a,)),)):
            return a
        case Call(Fn.ABS, (Call(Fn.NEG | Fn.ABS, (a,)),)):
            return Call(Fn.ABS, (a,), e.location)
        case Call(Fn.MAX | Fn.MIN, (a, b)) if a == b:
            return a
    return None


def _is(e: Expr, value: float) -> bool:
    """A float literal of this value and this sign."""
    return (
        isinstance(e, Const)
        and isinstance(e.value, float)
        and e.value == value
        and math.copysign(1.0, e.value) == math.copysign(1.0, value)
    )


def _has_exact_reciprocal(c: float, dtype: DType) -> bool:
    """A power of two whose reciprocal is a normal number of the type: then both products round the same quotient."""
    if c == 0.0 or not math.isfinite(c) or math.frexp(abs(c))[0] != 0.5:
        return False
    limits = np.finfo(dtype.numpy)
    return float(limits.tiny) <= 1.0 / abs(c) <= float(limits.max)
