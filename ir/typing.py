"""Element types of expressions: inference, and elaboration of what was left unsaid.

After `elaborate` every `Const` has a dtype and every widening is an explicit `Cast`. The rules (docs/language.md):
literals take the type of what they meet; `i32` meets `i64` as `i64`, `f32` meets `f64` as `f64`; an integer meets a
float only through a cast; `bool` meets nothing else. A literal that meets nothing is i64 or f32. Elaboration is
idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .dtypes import DType
from .errors import NOWHERE, Location, TypeMismatch
from .expr import COMPARISONS, FLOAT_ONLY, LOGICAL, Call, Cast, Const, Coord, Expr, Fn, Param, Read, Ref, Var, rewrite


class Open(Enum):
    """Types not fixed yet: of literals, and of a recurrence's own value while its type is being inferred."""

    UNKNOWN = 0
    INT = 1
    FLOAT = 2


Type = DType | Open


@dataclass(frozen=True)
class TypeEnv:
    """Storage types of tensors, and the arithmetic types of register tiles and of monoid or stream values by name."""

    tensors: Mapping[str, DType | Open] = field(default_factory=dict)
    refs: Mapping[str, DType] = field(default_factory=dict)
    params: Mapping[str, DType] = field(default_factory=dict)


def place(expr: Expr) -> Location:
    """The first known location in an expression."""
    stack = [expr]
    while stack:
        node = stack.pop(0)
        found = getattr(node, "location", NOWHERE)
        if isinstance(found, Location) and found.line:
            return found
        stack.extend(node.children)
    return NOWHERE


def infer(expr: Expr, env: TypeEnv, want: DType | None = None) -> DType:
    """The arithmetic type of an expression; `want` is what its literals take where they meet nothing."""
    return settle(_Typer(env).type_of(expr), want)


def natural(expr: Expr, env: TypeEnv) -> Type:
    """The type an expression has by itself: open where it is made of literals alone."""
    return _Typer(env).type_of(expr)


def elaborate(expr: Expr, env: TypeEnv, want: DType | None = None, exact: bool = False) -> tuple[Expr, DType]:
    """The expression with every literal typed and every widening explicit, and its type.

    `want` is the type that literals take where they meet nothing. With `exact` the result has just that type (by
    widening), or TypeMismatch is raised.
    """
    typer = _Typer(env)
    dtype = settle(typer.type_of(expr), want)
    if exact and want is not None:
        dtype = want
    return typer.build(expr, dtype), dtype


def settle(found: Type, want: DType | None) -> DType:
    if isinstance(found, DType):
        return found
    if want is not None and (want.is_float or (want.is_int and found is not Open.FLOAT)):
        return want.arithmetic
    return DType.F32 if found is Open.FLOAT else DType.I64


def join(a: Type, b: Type, location: Location) -> Type:
    """The type two values meet in. Raises TypeMismatch where they do not go together."""
    if a is b:
        return a
    if isinstance(a, Open) and isinstance(b, Open):
        return max(a, b, key=lambda o: o.value)
    if isinstance(a, Open):
        a, b = b, a
    assert isinstance(a, DType)
    if isinstance(b, Open):
        if b is Open.UNKNOWN or a.is_float or (a.is_int and b is Open.INT):
            return a
        if a is DType.BOOL:
            raise TypeMismatch("a bool meets a number", location, "compare, or cast the bool: `f32(condition)`")
        raise TypeMismatch(f"an {a} meets a fractional literal", location, f"cast the {a}: `f32(...)`")
    if a.is_float and b.is_float:
        return DType.F64
    if a.is_int and b.is_int:
        return DType.I64
    if DType.BOOL in (a, b):
        raise TypeMismatch(f"{a} meets {b}", location, "cast the bool: `f32(condition)`, or compare the number")
    floating = a if a.is_float else b
    raise TypeMismatch(f"{a} meets {b}", location, f"cast the integer: `{floating}(...)`")


_BITS: dict[Fn, dict[DType, DType]] = {
    Fn.FLOAT_BITS: {DType.F32: DType.I32, DType.F64: DType.I64},
    Fn.BITS_FLOAT: {DType.I32: DType.F32, DType.I64: DType.F64},
}


class _Typer:
    def __init__(self, env: TypeEnv) -> None:
        self.env = env
        self.memo: dict[int, Type] = {}
        self.kept: list[Expr] = []  # keeps the nodes of `memo` alive, so that ids stay theirs

    def type_of(self, expr: Expr) -> Type:
        found = self.memo.get(id(expr))
        if found is None:
            found = self._type_of(expr)
            self.memo[id(expr)] = found
            self.kept.append(expr)
        return found

    def _type_of(self, expr: Expr) -> Type:
        match expr:
            case Const(value, dtype):
                return _type_of_const(value, dtype)
            case Var() | Coord():
                return DType.I64
            case Param(name):
                return self._lookup(self.env.params, name, NOWHERE)
            case Ref(name, location):
                return self._lookup(self.env.refs, name, location)
            case Read(tensor=tensor, location=location):
                if tensor not in self.env.tensors:
                    raise TypeMismatch(f"unknown tensor `{tensor}`", location)
                stored = self.env.tensors[tensor]
                return stored.arithmetic if isinstance(stored, DType) else stored
            case Cast(dtype=dtype):
                return dtype.arithmetic
            case Call():
                return self._type_of_call(expr)
        raise TypeMismatch(f"no type for {type(expr).__name__}", place(expr))

    def _lookup(self, names: Mapping[str, DType], name: str, location: Location) -> DType:
        if name not in names:
            raise TypeMismatch(f"unknown name `{name}`", location)
        return names[name]

    def _type_of_call(self, call: Call) -> Type:
        fn = call.fn
        if fn in COMPARISONS or fn in LOGICAL or fn is Fn.ISNAN:
            return DType.BOOL
        if fn in _BITS:
            return self._bits(call)[1]
        if fn is Fn.DOT2_BF16:
            return DType.F32
        args = call.args[1:] if fn is Fn.SELECT else call.args
        where = place(call)
        out = self.type_of(args[0])
        for arg in args[1:]:
            out = join(out, self.type_of(arg), where)
        if fn in FLOAT_ONLY:
            if isinstance(out, DType) and not out.is_float:
                remedy = "use `//`, or cast: `f32(...)`" if fn is Fn.DIV else "cast the argument: `f32(...)`"
                raise TypeMismatch(f"`{_shown(fn)}` is for floats, found {out}", where, remedy)
            return Open.FLOAT if out is Open.INT else out
        if out is DType.BOOL and fn is not Fn.SELECT:
            raise TypeMismatch(f"`{_shown(fn)}` is for numbers, found bool", where, "cast it: `i32(...)`")
        if fn in (Fn.FLOORDIV, Fn.MOD) and (out is Open.FLOAT or (isinstance(out, DType) and out.is_float)):
            shown = out if isinstance(out, DType) else "a fractional literal"
            raise TypeMismatch(
                f"`{_shown(fn)}` is for integers, found {shown}", where, "write `floor(a / b)`, or cast the operands"
            )
        return out

    def _bits(self, call: Call) -> tuple[DType, DType]:
        """The types that `float_bits` or `bits_float` takes and gives."""
        given = settle(self.type_of(call.args[0]), None)
        if given not in _BITS[call.fn]:
            allowed = " or ".join(map(str, _BITS[call.fn]))
            raise TypeMismatch(f"`{call.fn}` is for {allowed}, found {given}", place(call))
        return given, _BITS[call.fn][given]

    def build(self, expr: Expr, want: DType) -> Expr:
        """The expression elaborated to exactly this arithmetic type."""
        found = self.type_of(expr)
        own = want if isinstance(found, Open) else found
        if isinstance(found, Open) and (want is DType.BOOL or (found is Open.FLOAT and not want.is_float)):
            raise TypeMismatch(f"a number stands where {want} is needed", place(expr), "write a comparison or a cast")
        out = self._make(expr, own)
        if own is want:
            return out
        if (own, want) in ((DType.I32, DType.I64), (DType.F32, DType.F64)):
            return Cast(want, out, place(expr))
        raise TypeMismatch(f"{own} stands where {want} is needed", place(expr), f"cast it: `{want}(...)`")

    def _make(self, expr: Expr, own: DType) -> Expr:
        match expr:
            case Const(value, dtype):
                return expr if dtype is not None else _typed_const(value, own)
            case Read(index=index, fill=fill, tensor=tensor):
                stored = self.env.tensors[tensor]
                fill_type = stored.arithmetic if isinstance(stored, DType) else own
                new = tuple(self.build(e, DType.I64) for e in index)
                return expr.with_children(new + ((self.build(fill, fill_type),) if fill is not None else ()))
            case Cast(dtype=dtype, arg=arg):
                return expr.with_children((self.build(arg, settle(self.type_of(arg), dtype.arithmetic)),))
            case Call(fn, args):
                return expr.with_children(self._make_args(expr, fn, args, own))
        return expr

    def _make_args(self, call: Call, fn: Fn, args: tuple[Expr, ...], own: DType) -> tuple[Expr, ...]:
        if fn in LOGICAL:
            return tuple(self.build(a, DType.BOOL) for a in args)
        if fn in COMPARISONS:
            met = settle(join(self.type_of(args[0]), self.type_of(args[1]), place(call)), None)
            if met is DType.BOOL and fn not in (Fn.EQ, Fn.NE):
                raise TypeMismatch("bools have no order", place(call), "use `==`, `!=`, `and`, `or`, `not`")
            return tuple(self.build(a, met) for a in args)
        if fn in _BITS:
            return (self.build(args[0], self._bits(call)[0]),)
        if fn is Fn.DOT2_BF16:
            return tuple(self.build(a, t) for a, t in zip(args, (DType.I32, DType.I32, DType.F32), strict=True))
        if fn is Fn.ISNAN:
            met = settle(self.type_of(args[0]), DType.F32)
            if not met.is_float:
                raise TypeMismatch(f"`isnan` is for floats, found {met}", place(call))
            return (self.build(args[0], met),)
        if fn is Fn.SELECT:
            return (self.build(args[0], DType.BOOL),) + tuple(self.build(a, own) for a in args[1:])
        if fn in FLOAT_ONLY and not own.is_float:
            raise TypeMismatch(
                f"`{_shown(fn)}` is for floats, {own} is needed here", place(call), f"cast: `{own}(...)`"
            )
        return tuple(self.build(a, own) for a in args)


_MARKS = {Fn.DIV: "/", Fn.FLOORDIV: "//", Fn.MOD: "%", Fn.ADD: "+", Fn.SUB: "-", Fn.MUL: "*", Fn.NEG: "-", Fn.POW: "**"}


def _shown(fn: Fn) -> str:
    return _MARKS.get(fn, fn.value)


def _type_of_const(value: int | float | bool, dtype: DType | None) -> Type:
    if dtype is None:
        if isinstance(value, bool):
            return DType.BOOL
        return Open.INT if isinstance(value, int) else Open.FLOAT
    if dtype.arithmetic is not dtype:
        raise TypeMismatch(f"a literal of the storage type {dtype}", NOWHERE, f"cast it: `{dtype}(...)`")
    fits = isinstance(value, bool) if dtype is DType.BOOL else not isinstance(value, bool)
    if not fits or (dtype.is_int and not isinstance(value, int)) or (dtype.is_float and not isinstance(value, float)):
        raise TypeMismatch(f"the value {value!r} is not of type {dtype}")
    _check_range(value, dtype)
    return dtype


def _check_range(value: int | float | bool, dtype: DType) -> None:
    if dtype.is_int and not -(2 ** (8 * dtype.bytes - 1)) <= value < 2 ** (8 * dtype.bytes - 1):
        raise TypeMismatch(f"{value} does not fit {dtype}", NOWHERE, "use a wider type")


def _typed_const(value: int | float | bool, dtype: DType) -> Const:
    if dtype.is_float:
        return Const(float(value), dtype)
    _check_range(value, dtype)
    return Const(value, dtype)


def untyped(expr: Expr, keep_index_casts: bool = False) -> Expr:
    """The inverse of elaboration as far as reading goes: numbers lose their type (and a whole float its point is kept),
    widenings of indices go. The printer uses it where elaboration gives the same expression back."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Const) and node.dtype is not DType.BOOL:
            return Const(node.value)
        if isinstance(node, Read) and not keep_index_casts:
            index = tuple(e.arg if isinstance(e, Cast) and e.dtype is DType.I64 else e for e in node.index)
            return node if index == node.index else node.with_children(index + node.children[len(index) :])
        return None

    return rewrite(expr, rule)
