"""From Python's syntax tree to `surface.py`'s nodes. Nothing is executed.

The same constructs as in text, spelled so that Python's grammar takes them:

    sum[j](x[i, j])    sum[j: N](...)    sum[j:lo:hi](...)    the last for `sum[j in lo..hi]`
    sum[j, j <= i](...)    sum[j].where(j <= i)(...)    sum.f64[j](...)    lse[j](x[i, j], 1.0)
    x.pad(0)[i - 1]    x.clamp[i]    a if c else b    compact[j](cond)    argsort[j](key)
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from .dtypes import DType
from .errors import Location, ParseError
from .expr import ARITY, Boundary, Call, Cast, Const, Expr, Fn, Param, Read, Var
from .expr_text import CONSTANTS, FUNCTIONS, fold_left
from .surface import FnCall, ReduceExpr, SurfaceAxis, SurfaceCompact, SurfaceSort

DTYPES = {d.value: d for d in DType}
MAX_DEPTH = 150  # of a syntax tree; bounds the recursion here
_BINARY: dict[type[ast.operator], Fn] = {
    ast.Add: Fn.ADD,
    ast.Sub: Fn.SUB,
    ast.Mult: Fn.MUL,
    ast.Div: Fn.DIV,
    ast.FloorDiv: Fn.FLOORDIV,
    ast.Mod: Fn.MOD,
    ast.Pow: Fn.POW,
}
_COMPARE: dict[type[ast.cmpop], Fn] = {
    ast.Lt: Fn.LT,
    ast.LtE: Fn.LE,
    ast.Gt: Fn.GT,
    ast.GtE: Fn.GE,
    ast.Eq: Fn.EQ,
    ast.NotEq: Fn.NE,
}
LISTS = ("compact", "argsort", "argsort_desc")


class PythonExpr:
    """`is_monoid` tells which names start reductions; `member_owners` are the two states of a monoid's combine; `place`
    gives a node's location."""

    def __init__(
        self,
        place: Callable[[ast.AST], Location],
        is_monoid: Callable[[str], bool],
        constant: Callable[[str], int | float | None] = lambda name: None,
        member_owners: tuple[str, ...] = (),
    ) -> None:
        self.place = place
        self.is_monoid = is_monoid
        self.constant = constant
        self.member_owners = member_owners

    def fail(self, node: ast.AST, message: str, remedy: str = "") -> ParseError:
        return ParseError(message, self.place(node), remedy)

    def check_depth(self, node: ast.AST) -> None:
        level: list[ast.AST] = [node]
        height = 0
        while level:
            height += 1
            level = [c for n in level for c in ast.iter_child_nodes(n)]
        if height > MAX_DEPTH:
            raise self.fail(node, "expression too long or too deep", "split it into several definitions")

    def whole(self, node: ast.expr) -> Expr:
        """An expression, its depth checked first."""
        self.check_depth(node)
        return self.expr(node)

    def body(self, node: ast.expr) -> Expr | SurfaceCompact | SurfaceSort:
        """The right-hand side of a definition."""
        self.check_depth(node)
        match node:
            case ast.Call(func=ast.Subscript(value=ast.Name(id=name), slice=index), args=[arg]) if name in LISTS:
                axes, guard = self.axes(index)
                if len(axes) != 1 or guard is not None:
                    raise self.fail(node, f"`{name}` takes one axis", f"write `{name}[j](...)`")
                value = self.expr(arg)
                if name == "compact":
                    return SurfaceCompact(axes[0], value)
                return SurfaceSort(axes[0], value, name == "argsort_desc")
        return self.expr(node)

    def expr(self, node: ast.expr) -> Expr:
        here = self.place(node)
        match node:
            case ast.Constant(value=bool() as value):
                return Const(value, DType.BOOL)
            case ast.Constant(value=int() | float() as value):
                return self.number(node, value)
            case ast.Name(id=name):
                return self.name(name, here)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
                value, bool
            ):
                return self.number(node, -value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id=name)) if name in CONSTANTS:
                return Const(-float(name))
            case ast.UnaryOp(op=ast.USub() | ast.Not() as op, operand=operand):
                return Call(Fn.NEG if isinstance(op, ast.USub) else Fn.NOT, (self.expr(operand),), here)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
                return Call(_BINARY[type(operator)], (self.expr(left), self.expr(right)), here)
            case ast.BoolOp(op=both, values=values):
                fn = Fn.AND if isinstance(both, ast.And) else Fn.OR
                out = self.expr(values[0])
                for other in values[1:]:
                    out = Call(fn, (out, self.expr(other)), here)
                return out
            case ast.Compare(left=left, ops=[compare], comparators=[right]) if type(compare) in _COMPARE:
                return Call(_COMPARE[type(compare)], (self.expr(left), self.expr(right)), here)
            case ast.Compare():
                raise self.fail(node, "comparisons do not chain", "write `a < b and b < c`")
            case ast.IfExp(test=test, body=yes, orelse=no):
                return Call(Fn.SELECT, (self.expr(test), self.expr(yes), self.expr(no)), here)
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in self.member_owners:
                return Param(f"{owner}.{attr}")
            case ast.Subscript():
                return self.read(node)
            case ast.Call():
                return self.call(node)
        raise self.fail(node, f"{type(node).__name__} means nothing in an op", "docs/language.md lists what does")

    def number(self, node: ast.expr, value: int | float) -> Const:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise self.fail(node, "the integer does not fit 64 bits")
        return Const(value)

    def name(self, name: str, here: Location) -> Expr:
        if name in CONSTANTS:
            return Const(float(name))
        value = self.constant(name)
        return Const(value) if value is not None else Var(name, here)

    def read(self, node: ast.Subscript) -> Expr:
        here = self.place(node)
        index = tuple(self.expr(e) for e in elements(node.slice))
        match node.value:
            case ast.Name(id=name):
                if self.is_monoid(name):
                    raise self.fail(node, f"the monoid `{name}` needs an argument", f"write `{name}[j](...)`")
                return Read(name, index, location=here)
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if attr in ("clamp", "wrap", "reflect"):
                return Read(name, index, Boundary(attr), location=here)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="pad"), args=[fill], keywords=[]):
                return Read(name, index, Boundary.PAD, self.expr(fill), here)
        raise self.fail(node, "only tensors have elements", "boundaries are .pad(value), .clamp, .wrap, .reflect")

    def call(self, node: ast.Call) -> Expr:
        here = self.place(node)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self.fail(node, "arguments are given by position")
        match node.func:
            case ast.Name(id=name):
                args = tuple(self.expr(a) for a in node.args)
                if name in DTYPES and len(args) == 1:
                    return Cast(DTYPES[name], args[0], here)
                fn = FUNCTIONS.get(name)
                if fn is None:
                    return FnCall(name, args, here)
                if fn in (Fn.MAX, Fn.MIN) and len(args) > 2:
                    return fold_left(fn, args, here)
                if len(args) != ARITY[fn]:
                    raise self.fail(node, f"`{fn}` takes {ARITY[fn]} argument(s), found {len(args)}")
                return Call(fn, args, here)
            case ast.Subscript() as reduction:
                return self.reduction(node, reduction, None)
            case ast.Call(func=ast.Attribute(value=ast.Subscript() as reduction, attr="where"), args=[guard]):
                return self.reduction(node, reduction, self.expr(guard))
        raise self.fail(node, "this cannot be called", "call functions by name, reductions as `sum[j](...)`")

    def reduction(self, node: ast.Call, head: ast.Subscript, guard: Expr | None) -> Expr:
        accumulate = None
        match head.value:
            case ast.Name(id=name):
                pass
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if attr in DTYPES:
                accumulate = DTYPES[attr]
            case _:
                raise self.fail(head, "a reduction is `sum[j](...)`")
        if not self.is_monoid(name):
            raise self.fail(
                head, f"unknown monoid `{name}`", "sum, prod, max, min, all, any, argmax, argmin, or @monoid"
            )
        axes, inside = self.axes(head.slice)
        if inside is not None:
            guard = inside if guard is None else Call(Fn.AND, (inside, guard))
        args = tuple(self.expr(a) for a in node.args)
        if not args:
            raise self.fail(node, f"`{name}[...]` needs an argument")
        return ReduceExpr(name, axes, args, guard, accumulate, self.place(head))

    def axes(self, index: ast.expr) -> tuple[tuple[SurfaceAxis, ...], Expr | None]:
        """The axes in brackets, and the guard made of what is no axis."""
        axes: list[SurfaceAxis] = []
        guard: Expr | None = None
        for element in elements(index):
            axis = self.axis(element)
            if axis is not None:
                axes.append(axis)
                continue
            condition = self.expr(element)
            guard = condition if guard is None else Call(Fn.AND, (guard, condition))
        if not axes:
            raise self.fail(index, "an axis is needed", "write `sum[j](...)`")
        return tuple(axes), guard

    def axis(self, node: ast.expr) -> SurfaceAxis | None:
        """`j`, `j: N` or `j:lo:hi`; None for anything else."""
        match node:
            case ast.Name(id=name):
                return SurfaceAxis(name, None, None, self.place(node))
            case ast.Slice(lower=ast.Name(id=name), upper=upper, step=step) if upper is not None:
                if step is None:
                    return SurfaceAxis(name, None, self.expr(upper), self.place(node))
                return SurfaceAxis(name, self.expr(upper), self.expr(step), self.place(node))
        return None


def elements(node: ast.expr) -> list[ast.expr]:
    """What stands between brackets."""
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]
