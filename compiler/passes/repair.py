"""Repairs: the state of a streamed sum for new values of what its summands refer to.

They are expressions over `old.<target>` and `new.<target>` (docs/rules.md, section 1), and they also merge two partial
states: each side is repaired to the merged references, then the sides are added.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.expr import Call, Const, Expr, Fn, Param, walk
from ...ir.op import Definition, Reduction


def factor_repair(target: str, t: Expr, members: Mapping[str, Definition]) -> Expr:
    """old * T(old, new), but the state itself where no reference changed, and the identity where a maximum or minimum
    was still the identity: T is then 0, whatever its formula makes of infinities. A scale that is still zero has seen
    zeros alone (sampling.py, `stays_bounded`): what 0 / 0 left behind is dropped likewise."""
    names = sorted({p.name.partition(".")[2] for p in walk(t) if isinstance(p, Param)})
    same: Expr | None = None
    unseen: Expr | None = None
    for name in names:
        body = members[name].body
        assert isinstance(body, Reduction)
        same = _also(Fn.AND, same, Call(Fn.EQ, (Param(f"old.{name}"), Param(f"new.{name}"))))
        if body.monoid.fn in (Fn.MAX, Fn.MIN):
            unseen = _also(Fn.OR, unseen, Call(Fn.EQ, (Param(f"old.{name}"), body.monoid.identity[0])))
    old = Param(f"old.{target}")
    out: Expr = Call(Fn.MUL, (old, t))
    if not any(isinstance(n, Call) and _is_exponential(n) for n in walk(t)):
        out = Call(Fn.SELECT, (Call(Fn.EQ, (t, Const(0.0))), Const(0.0), out))
    if unseen is not None:
        out = Call(Fn.SELECT, (unseen, Const(0.0), out))
    return out if same is None else Call(Fn.SELECT, (same, old, out))


def _is_exponential(n: Call) -> bool:
    """A factor that is small, but no zero, where it underflows: what it multiplies must not be dropped."""
    return n.fn in (Fn.EXP, Fn.EXP2) or (n.fn is Fn.POW and any(isinstance(x, Param) for x in walk(n.args[1])))


def chan_repair(target: str, total: str, count: str) -> Expr:
    """Squares about the mean so far, moved to the new mean: old + n * (old mean - new mean)**2.

    Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983), the pairwise formula.
    """
    n = Param(f"old.{count}")
    shift = Call(
        Fn.SUB,
        (
            Call(Fn.DIV, (Param(f"old.{total}"), n)),
            Call(Fn.DIV, (Param(f"new.{total}"), Param(f"new.{count}"))),
        ),
    )
    moved = Call(Fn.ADD, (Param(f"old.{target}"), Call(Fn.MUL, (n, Call(Fn.MUL, (shift, shift))))))
    return Call(Fn.SELECT, (Call(Fn.EQ, (n, Const(0.0))), Param(f"old.{target}"), moved))


def _also(fn: Fn, a: Expr | None, b: Expr) -> Expr:
    return b if a is None else Call(fn, (a, b))
