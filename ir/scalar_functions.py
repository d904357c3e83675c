"""What every scalar function means, in NumPy. The interpreters of all forms share this table.

A value is a NumPy array (any shape, rank 0 included) whose dtype is an arithmetic type, or a Python number: a *weak*
value, a literal that takes the type of what it meets. Functions of weak values only stay weak (computed in i64/f64).
Transcendental functions of f32 are computed in float64 and rounded once, so that they serve as a reference.
Nothing here warns: overflow wraps for integers and gives infinities for floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .dtypes import DType, from_numpy
from .errors import InternalError
from .expr import COMPARISONS, LOGICAL, Call, Cast, Const, Expr, Fn

Array = np.ndarray[Any, np.dtype[Any]]
Value = Array | bool | int | float

_RANK = {DType.BOOL: 0, DType.I32: 1, DType.I64: 2, DType.F32: 3, DType.F64: 4}


def is_weak(value: Value) -> bool:
    return isinstance(value, bool | int | float) and not isinstance(value, np.generic)


def dtype_of(value: Value) -> DType | None:
    """The arithmetic type of a value; None for a weak one."""
    if is_weak(value):
        return None
    found = from_numpy(np.asarray(value).dtype)
    if found is None:
        raise InternalError(f"a value of NumPy dtype {np.asarray(value).dtype} inside an expression")
    return found.arithmetic


def common_dtype(values: Sequence[Value]) -> DType | None:
    """The type in which `values` meet: i32 < i64 < f32 < f64 (typing refuses mixed kinds); None if all are weak."""
    strong = [d for d in map(dtype_of, values) if d is not None]
    return max(strong, key=_RANK.__getitem__) if strong else None


def strong(value: Value, dtype: DType) -> Array:
    """A value as an array of an arithmetic type, without the range checks of a cast (weak ints wrap)."""
    if isinstance(value, int) and not isinstance(value, bool) and dtype.is_int:
        bits = 8 * dtype.bytes
        value = (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(dtype.numpy)


def cast(value: Value, dtype: DType) -> Array:
    """`Cast`: float to int truncates and saturates (NaN gives 0), to bool is `!= 0`, int to int wraps; a narrow type
    rounds, and the result continues in `dtype.arithmetic`."""
    return from_storage(to_storage(value, dtype))


def to_storage(value: Value, dtype: DType) -> Array:
    """A value as it is stored in a buffer of `dtype`: rounded to nearest even, or wrapped (from a float: saturated)."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = strong(value, DType.I64)
    array = np.asarray(value)
    with np.errstate(all="ignore"):
        if dtype is DType.BOOL:
            return np.asarray(array != 0)
        if dtype.is_int and array.dtype.kind not in "iub":
            wide = array.astype(np.float64)
            low, high = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
            # float(high) of i64 is 2**63, which does not fit: compare first, convert only what fits.
            inside = np.trunc(np.where((wide > low) & (wide < high), wide, 0.0)).astype(dtype.numpy)
            out = np.where(wide >= high, np.array(high, dtype.numpy), np.where(wide <= low, low, inside))
            return np.asarray(np.where(np.isnan(wide), 0, out), dtype=dtype.numpy)
        return array.astype(dtype.numpy)


def from_storage(array: Array) -> Array:
    """A stored value as an expression reads it."""
    found = from_numpy(np.asarray(array).dtype)
    if found is None:
        raise InternalError(f"a buffer of NumPy dtype {np.asarray(array).dtype}")
    return np.asarray(array).astype(found.arithmetic.numpy)


_erf = np.frompyfunc(math.erf, 1, 1)


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    return np.asarray(np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small)))


_TRANSCENDENTAL: dict[Fn, Callable[..., Any]] = {
    Fn.POW: np.power,
    Fn.EXP: np.exp,
    Fn.EXP2: np.exp2,
    Fn.EXPM1: np.expm1,
    Fn.LOG: np.log,
    Fn.LOG2: np.log2,
    Fn.LOG1P: np.log1p,
    Fn.SQRT: np.sqrt,
    Fn.RSQRT: lambda x: 1.0 / np.sqrt(x),
    Fn.TANH: np.tanh,
    Fn.SIGMOID: _sigmoid,
    Fn.ERF: lambda x: np.asarray(_erf(x)).astype(np.float64),
    Fn.SIN: np.sin,
    Fn.COS: np.cos,
}


def _floordiv(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.floor(a / b))
    zero = b == 0
    return np.asarray(np.where(zero, 0, np.floor_divide(a, np.where(zero, 1, b))), dtype=a.dtype)


def _mod(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.mod(a, b))
    zero = b == 0
    return np.asarray(np.where(zero, 0, np.mod(a, np.where(zero, 1, b))), dtype=a.dtype)


def _div(a: Array, b: Array) -> Array:
    return np.asarray(np.divide(a, b)) if a.dtype.kind == "f" else _floordiv(a, b)


def _ldexp(x: Array, n: Array) -> Array:
    whole = np.clip(np.nan_to_num(n), -5000, 5000).astype(np.int32)
    scaled = np.where(n == np.inf, np.inf, np.where(n == -np.inf, 0.0, np.ldexp(x, whole)))
    return np.where(np.isnan(n), n, scaled).astype(x.dtype)


_PLAIN: dict[Fn, Callable[..., Any]] = {
    Fn.ADD: np.add,
    Fn.SUB: np.subtract,
    Fn.MUL: np.multiply,
    Fn.DIV: _div,
    Fn.FLOORDIV: _floordiv,
    Fn.MOD: _mod,
    Fn.NEG: np.negative,
    Fn.ABS: np.abs,
    Fn.MAX: np.maximum,
    Fn.MIN: np.minimum,
    Fn.FLOOR: np.floor,
    Fn.CEIL: np.ceil,
    Fn.ROUND: np.rint,
    Fn.EQ: np.equal,
    Fn.NE: np.not_equal,
    Fn.LT: np.less,
    Fn.LE: np.less_equal,
    Fn.GT: np.greater,
    Fn.GE: np.greater_equal,
    Fn.AND: np.logical_and,
    Fn.OR: np.logical_or,
    Fn.NOT: np.logical_not,
    Fn.ISNAN: np.isnan,
    Fn.LDEXP: _ldexp,
    Fn.FLOAT_BITS: lambda a: a.view(np.int32 if a.dtype == np.float32 else np.int64),
    Fn.BITS_FLOAT: lambda a: a.view(np.float32 if a.dtype == np.int32 else np.float64),
}


def _fma(a: Array, b: Array, c: Array) -> Array:
    """a * b + c rounded once: through float64 for f32 (the product is exact there); for f64 with an error-free
    product and sum (Dekker 1971, Knuth TAOCP 2, 4.2.2), plain where those leave the finite range."""
    if a.dtype != np.float64:
        wide = a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)
        return np.asarray(wide).astype(a.dtype)
    plain = a * b + c
    product = a * b

    def split(x: Array) -> tuple[Array, Array]:
        scaled = x * 134217729.0  # 2**27 + 1
        high = scaled - (scaled - x)
        return high, x - high

    (ah, al), (bh, bl) = split(a), split(b)
    lost_product = al * bl - (((product - ah * bh) - al * bh) - ah * bl)
    total = product + c
    part = total - product
    lost_sum = (product - (total - part)) + (c - part)
    exact = total + (lost_sum + lost_product)
    return np.asarray(np.where(np.isfinite(exact), exact, plain))


def _dot2_bf16(a: Array, b: Array, c: Array) -> Array:
    """c + a.low * b.low + a.high * b.high of bf16 pairs, rounded once (the products are exact in f32)."""

    def halves(x: Array) -> tuple[Array, Array]:
        bits = x.view(np.uint32)
        return (bits << 16).view(np.float32), (bits & 0xFFFF0000).view(np.float32)

    (a0, a1), (b0, b1) = halves(a), halves(b)
    wide = c.astype(np.float64) + a0.astype(np.float64) * b0 + a1.astype(np.float64) * b1
    return np.asarray(wide).astype(np.float32)


def apply(fn: Fn, args: Sequence[Value]) -> Value:
    """`fn` of arguments that broadcast as NumPy's do. The result is an array, or weak if every argument is.

    Raises InternalError where the wrong number of arguments is given.
    """
    if fn is Fn.DOT2_BF16:
        kinds = (DType.I32, DType.I32, DType.F32)
        return _strong_apply(fn, [strong(a, t) for a, t in zip(args, kinds, strict=True)])
    if all(is_weak(a) for a in args):
        arrays = [strong(a, DType.I64) if type(a) is int else np.asarray(a) for a in args]
        if fn not in LOGICAL and fn is not Fn.SELECT and any(a.dtype.kind == "f" for a in arrays):
            arrays = [a.astype(np.float64) for a in arrays]
        return _weak(_strong_apply(fn, arrays))
    if fn is Fn.SELECT:
        condition, yes, no = args
        dtype = common_dtype((yes, no))
        if dtype is None:
            if is_weak(condition):
                return yes if condition else no
            dtype = DType.F64 if isinstance(yes, float) or isinstance(no, float) else DType.I64
            dtype = DType.BOOL if isinstance(yes, bool) and isinstance(no, bool) else dtype
        return np.asarray(np.where(np.asarray(condition) != 0, strong(yes, dtype), strong(no, dtype)))
    if fn in LOGICAL:
        return _strong_apply(fn, [np.asarray(a) for a in args])
    dtype = common_dtype(args)
    assert dtype is not None
    if dtype.is_int and fn in COMPARISONS and any(isinstance(a, float) for a in args):
        dtype = DType.F64  # `i < 2.5` must not round the literal
    return _strong_apply(fn, [strong(a, dtype) for a in args])


def _strong_apply(fn: Fn, args: Sequence[Array]) -> Array:
    with np.errstate(all="ignore"):
        if fn is Fn.SELECT:
            return np.asarray(np.where(args[0] != 0, args[1], args[2]))
        if fn is Fn.FMA:
            a, b, c = args
            return _fma(a, b, c) if a.dtype.kind == "f" else np.asarray(a * b + c)
        if fn is Fn.DOT2_BF16:
            return _dot2_bf16(*args)
        if fn in _TRANSCENDENTAL:
            if args[0].dtype.kind != "f":
                return np.asarray(_TRANSCENDENTAL[fn](*(a.astype(np.float64) for a in args)))
            return np.asarray(_TRANSCENDENTAL[fn](*(a.astype(np.float64) for a in args))).astype(args[0].dtype)
        return np.asarray(_PLAIN[fn](*args))


def _weak(array: Array) -> Value:
    number: bool | int | float = array.item()
    return number


def identity(fn: Fn, dtype: DType) -> bool | int | float:
    """The neutral element of an associative `fn`. Raises InternalError for another function."""
    if fn is Fn.ADD:
        return 0.0 if dtype.is_float else 0
    if fn is Fn.MUL:
        return 1.0 if dtype.is_float else 1
    if fn is Fn.AND or fn is Fn.OR:
        return fn is Fn.AND
    if fn in (Fn.MAX, Fn.MIN):
        if dtype is DType.BOOL:
            return fn is Fn.MIN
        if dtype.is_float:
            return -math.inf if fn is Fn.MAX else math.inf
        limits = np.iinfo(dtype.numpy)
        return int(limits.min if fn is Fn.MAX else limits.max)
    raise InternalError(f"'{fn}' is not associative: it has no identity")


def reduce(fn: Fn, array: Array, axes: tuple[int, ...]) -> Array:
    """`fn` folded over `axes`, which are kept with size 1; over nothing it is the identity."""
    dtype = dtype_of(array)
    assert dtype is not None
    initial = np.array(identity(fn, dtype), dtype=array.dtype if fn not in LOGICAL else np.bool_)
    ufunc: Any = _PLAIN[fn]
    with np.errstate(all="ignore"):
        if fn in LOGICAL:
            return np.asarray(ufunc.reduce(array != 0, axis=axes, keepdims=True, initial=initial, dtype=np.bool_))
        if array.dtype == np.bool_:
            ufunc = {Fn.MAX: np.logical_or, Fn.MIN: np.logical_and}.get(fn, ufunc)
        return np.asarray(ufunc.reduce(array, axis=axes, keepdims=True, initial=initial, dtype=array.dtype))


def scan(fn: Fn, array: Array, axis: int) -> Array:
    """`fn` folded over everything up to each element along `axis`."""
    out = np.array(array, copy=True)
    rows, source = np.moveaxis(out, axis, 0), np.moveaxis(array, axis, 0)
    for k in range(1, rows.shape[0]):
        both = np.stack([rows[k - 1], source[k]])
        rows[k] = reduce(fn, both, (0,))[0]
    return out


def evaluate(expr: Expr, leaf: Callable[[Expr], Value]) -> Value:
    """The value of an expression. `leaf` gives the value of everything that is not a Const, Call or Cast."""
    match expr:
        case Const(value, dtype):
            return value if dtype is None else cast(value, dtype)
        case Call(fn, args):
            return apply(fn, [evaluate(a, leaf) for a in args])
        case Cast(dtype, arg):
            return cast(evaluate(arg, leaf), dtype)
    return leaf(expr)
