"""The printer of the op form. `parse_op(print_op(op)) == op` for every legal op.

Whatever the parser would infer again (extents, types, literals' types, symbols) is left out, so that what is printed
reads like what was written; each omission is made only after checking that inference gives the same.
"""

from __future__ import annotations

from collections import ChainMap

from .dtypes import DType
from .errors import NOWHERE, UserError
from .expr import Cast, Expr, Var, const, walk
from .expr_text import TERM, print_expr
from .extents import infer_extent
from .monoids import BY_INDEX, is_builtin
from .op import Axis, Compact, Definition, Monoid, Op, Pointwise, Reduction, Sort, Stream, Tensor
from .typing import Open, TypeEnv, elaborate, natural, settle, untyped


def print_op(op: Op) -> str:
    """The text of an op, its users' monoids before it. Ends with a newline."""
    monoids: dict[str, Monoid] = {}
    for d in op.definitions:
        if isinstance(d.body, Reduction) and not is_builtin(d.body.monoid):
            monoids.setdefault(d.body.monoid.name, d.body.monoid)
    head = "".join(f"{print_monoid(m)}\n" for m in monoids.values())
    return head + _Printer(op).op_text()


def print_monoid(monoid: Monoid) -> str:
    """A user's monoid, its state's types declared."""
    typed = monoid.dtypes or (None,) * len(monoid.components)
    state = ", ".join(f"{c}: {t}" if t else c for c, t in zip(monoid.components, typed, strict=True))
    identity = ", ".join(_shortest(e, TypeEnv(), t, True) for e, t in zip(monoid.identity, typed, strict=True))
    params = {f"{s}.{c}": t for c, t in zip(monoid.components, typed, strict=True) if t for s in ("a", "b")}
    combine = ", ".join(
        _shortest(e, TypeEnv(params=params), t, True) for e, t in zip(monoid.combine, typed, strict=True)
    )
    ordered = "" if monoid.commutative else " ordered"
    return f"monoid {monoid.name}({state}){ordered} {{\n  identity ({identity})\n  combine(a, b) = ({combine})\n}}\n"


def _shortest(expr: Expr, env: TypeEnv, want: DType | None, exact: bool = False, level: int = 1) -> str:
    """The text without what elaboration (at this place) restores, or in full where it would restore something else."""
    return print_expr(_plain(expr, env, want, exact), level, None, None)


def _plain(expr: Expr, env: TypeEnv, want: DType | None, exact: bool) -> Expr:
    plains = [untyped(expr), untyped(expr, keep_index_casts=True)]
    if exact and isinstance(expr, Cast) and expr.dtype is want:
        plains.insert(0, untyped(expr.arg))
    for plain in plains:
        try:
            if elaborate(plain, env, want, exact)[0] == expr:
                return plain
        except UserError:
            pass
    return expr


class _Printer:
    def __init__(self, op: Op) -> None:
        self.op = op
        self.tensors: dict[str, Tensor] = {t.name: t for t in op.inputs}
        self.stored: dict[str, DType | Open] = {t.name: t.dtype for t in op.inputs}
        self.outputs = {t.name: t for t in op.outputs}

    def op_text(self) -> str:
        op = self.op
        inputs = ", ".join(self.tensor(t) for t in op.inputs)
        outputs = ", ".join(self.tensor(t) for t in op.outputs)
        facts = ", ".join(_shortest(f, TypeEnv(), DType.BOOL, True) for f in op.facts)
        lines = [f"op {op.name}{self.symbols()}({inputs}) -> ({outputs}){' where ' + facts if facts else ''} {{"]
        for d in op.definitions:
            lines.append(f"  {self.definition(d)}")
            self.tensors.update({t.name: t for t in d.targets})
            self.stored.update({t.name: t.dtype for t in d.targets})
        lines += [f"  {self.stream(s)}" for s in op.streams]
        return "\n".join([*lines, "}\n"])

    def symbols(self) -> str:
        """The list of symbols, where the inputs' shapes do not name just these in this order."""
        named: dict[str, None] = {}
        for t in self.op.inputs:
            for extent in t.shape:
                named.update({n.name: None for n in walk(extent) if isinstance(n, Var)})
        if tuple(named) == tuple(s.name for s in self.op.symbols) and all(s.default is None for s in self.op.symbols):
            return ""
        listed = (s.name if s.default is None else f"{s.name}={s.default}" for s in self.op.symbols)
        return f"<{', '.join(listed)}>"

    def tensor(self, t: Tensor) -> str:
        return f"{t.name}: {t.dtype}" + (f"[{', '.join(self.index(e) for e in t.shape)}]" if t.shape else "")

    def index(self, expr: Expr) -> str:
        return _shortest(expr, self.env(), DType.I64, True)

    def env(self, more: dict[str, DType | Open] | None = None) -> TypeEnv:
        return TypeEnv(ChainMap(more or {}, self.stored))

    def definition(self, d: Definition) -> str:
        targets, args = self.hidden_index(d)
        names = targets[0].name if len(targets) == 1 else f"({', '.join(t.name for t in targets)})"
        free = ", ".join(self.free(d, k, a) for k, a in enumerate(d.axes))
        brackets = f"[{free}]" if d.axes or len(targets) > 1 else ""
        return f"{names}{brackets}{self.dtypes(d, targets, args)} = {self.body(d, args)}"

    def hidden_index(self, d: Definition) -> tuple[tuple[Tensor, ...], tuple[Expr, ...]]:
        """Targets and arguments as written: `p[i] = argmax[j] x` has the index and the value's target unsaid."""
        if not isinstance(d.body, Reduction):
            return d.targets, ()
        r, targets = d.body, d.targets
        if r.monoid.name in BY_INDEX and is_builtin(r.monoid) and len(r.axes) == 1 and len(targets) == 2:
            hidden = targets[1].name == f"{targets[0].name}$v" and targets[1].dtype is r.monoid.dtypes[1]
            if hidden and r.args[0] == Var(r.axes[0].name):
                return targets[:1], r.args[1:]
        return targets, r.args

    def free(self, d: Definition, position: int, axis: Axis) -> str:
        output = next((self.outputs[t.name] for t in d.targets if t.name in self.outputs), None)
        if output is not None and position < len(output.shape):
            inferred = output.shape[position] == axis.hi
        else:
            body = d.body
            exprs: tuple[Expr, ...] = d.expressions
            if isinstance(body, Compact):
                exprs = (body.guard,)
            elif isinstance(body, Sort):
                exprs = (body.key,)
            inferred = self.inferred(axis, exprs)
        return axis.name if inferred else f"{axis.name}: {self.index(axis.hi)}"

    def inferred(self, axis: Axis, exprs: tuple[Expr, ...]) -> bool:
        try:
            return infer_extent(axis.name, exprs, self.tensors, self.op.facts, NOWHERE) == axis.hi
        except UserError:
            return False

    def reduction_axis(self, axis: Axis, exprs: tuple[Expr, ...]) -> str:
        if axis.lo == const(0):
            return axis.name if self.inferred(axis, exprs) else f"{axis.name}: {self.index(axis.hi)}"
        return f"{axis.name} in {self.index(axis.lo)}..{self.index(axis.hi)}"

    def dtypes(self, d: Definition, targets: tuple[Tensor, ...], args: tuple[Expr, ...]) -> str:
        """The declaration of types, where the outputs' and the body's do not say it."""
        match d.body:
            case Compact() | Sort():
                natural_types: tuple[DType, ...] = (DType.I64,) * len(targets)
            case Pointwise(expr):
                env = self.env({d.name: d.targets[0].dtype})
                try:
                    found = settle(natural(self.pointwise(d, expr), env), None)
                except UserError:
                    found = DType.BOOL
                recurrent = d.is_recurrence or found is not d.targets[0].dtype
                natural_types = () if recurrent else (found,)
            case Reduction() as r:
                natural_types = tuple(t for t in r.monoid.dtypes if t is not None)[: len(targets)]
        needed = [
            t.name not in self.outputs and (k >= len(natural_types) or t.dtype is not natural_types[k])
            for k, t in enumerate(targets)
        ]
        return f": {', '.join(str(t.dtype) for t in targets)}" if any(needed) else ""

    def body(self, d: Definition, args: tuple[Expr, ...]) -> str:
        match d.body:
            case Pointwise(expr):
                return print_expr(self.pointwise(d, expr), 1, None, None)
            case Compact(axis, guard):
                axis_text = self.reduction_axis(axis, (guard,))
                return f"compact[{axis_text} where {_shortest(guard, self.env(), DType.BOOL, True)}]"
            case Sort(axis, key, descending):
                word = "argsort_desc" if descending else "argsort"
                return f"{word}[{self.reduction_axis(axis, (key,))}] {_shortest(key, self.env(), None)}"
            case Reduction() as r:
                hidden = len(args) < len(r.args)
                declared = d.name in self.outputs or bool(self.dtypes(d, d.targets[:1] if hidden else d.targets, args))
                single = len(d.targets) == 1 or hidden
                return self.reduction(r, args, d.targets[0].dtype if single and declared else None)

    def pointwise(self, d: Definition, expr: Expr) -> Expr:
        own = d.targets[0].dtype
        env = self.env({d.name: own})
        return _plain(expr, env, own.arithmetic, not self.stored_narrower(expr, env, own))

    def stored_narrower(self, expr: Expr, env: TypeEnv, own: DType) -> bool:
        try:
            return settle(natural(expr, env), own).bytes > own.arithmetic.bytes
        except UserError:
            return False

    def reduction(self, r: Reduction, args: tuple[Expr, ...], want: DType | None) -> str:
        exprs = r.args + ((r.guard,) if r.guard is not None else ())
        axes = ", ".join(self.reduction_axis(a, exprs) for a in r.axes)
        guard = f" where {_shortest(r.guard, self.env(), DType.BOOL, True)}" if r.guard is not None else ""
        accumulate = f"<{r.accumulate}>" if r.accumulate is not None else ""
        typed = r.monoid.dtypes[-len(args) :]
        single = len(args) == 1
        texts = [self.summand(r, a, t, TERM if single else 1, want) for a, t in zip(args, typed, strict=True)]
        joined = ", ".join(texts)
        return f"{r.monoid.name}{accumulate}[{axes}{guard}] {joined if single else f'({joined})'}"

    def summand(self, r: Reduction, expr: Expr, dtype: DType | None, level: int, want: DType | None) -> str:
        """An argument; literals' types and an outer widening are dropped only where the reduction's type stays."""
        env = self.env()
        plains = [untyped(expr.arg)] if isinstance(expr, Cast) and expr.dtype is dtype else []
        for plain in [*plains, untyped(expr), untyped(expr, keep_index_casts=True)]:
            try:
                if is_builtin(r.monoid):
                    found = settle(natural(plain, env), want)
                    found = r.accumulate if r.accumulate is not None and r.accumulate.bytes > found.bytes else found
                    if found is not dtype:
                        continue
                if elaborate(plain, env, dtype, True)[0] == expr:
                    return print_expr(plain, level, None, None)
            except UserError:
                pass
        return print_expr(expr, level, None, None)

    def stream(self, s: Stream) -> str:
        params = {f"{side}.{n}": t.dtype.arithmetic for n, t in self.tensors.items() for side in ("old", "new")}
        parts = []
        for c in s.components:
            repair = f" repair {_shortest(c.repair, TypeEnv(params=params), None)}" if c.repair is not None else ""
            parts.append(f"{c.target}{repair};")
        return f"stream[{s.axis}] {{ {' '.join(parts)} }}"


__all__ = ["print_monoid", "print_op"]
