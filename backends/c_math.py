"""Mathematical functions as helpers: the sequences of `mathlib.py`, printed once for each type and vector length.

Beside speed this keeps results equal on every machine of a kind: a C library's `expf` differs from release to release.
A vector of 16 f32 has a second form for AVX-512 where `mathlib` has one.
"""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.errors import InternalError
from ..ir.expr import Fn, const
from .c_expr import At, ExprPrinter, Scope, Tile
from .c_helpers import Helpers
from .c_types import SCALAR, literal, vector
from .c_values import TERNARY, Value
from .c_vector_text import Generated, function, guarded, vector_function
from .math_kit import Instruction, Step, Wide
from .mathlib import has_wide, sequence


class Recorder(Helpers):
    """Remembers what was used, without printing it."""

    def use(self, name: str) -> str:
        self.texts[name] = ""
        return name


def math_function(name: str, fn: Fn, dtype: DType, lanes: int) -> Generated:
    """The helper `name`: `fn` of a scalar (`lanes` 1) or of a vector.

    A function of f32 that is continued in f64 is computed by halves, whose f64 vectors are then as wide as a register.
    """
    steps = sequence(fn, dtype is DType.F64)
    wide = dtype is DType.F32 and has_wide(fn)
    doubles = lanes >= 8 and dtype is DType.F32 and "_half_" not in name and any(s.dtype.bytes == 8 for s in steps)
    recorder = Recorder()
    if (lanes > 16 and wide and "_half_" not in name) or doubles:
        body = _by_halves(recorder, fn, lanes)
    else:
        body = _body(recorder, steps, fn, dtype, lanes)
    outer = ""
    if lanes == 16 and wide:
        fast_steps = sequence(fn, False, wide=True)
        fast = _body(recorder, fast_steps, fn, dtype, lanes)
        body = guarded("defined(__AVX512F__)", fast, body)
        outer = "".join(_out_of_line(recorder, s.expr) for s in fast_steps if isinstance(s.expr, Instruction))
    kind = SCALAR[dtype] if lanes == 1 else recorder.use(vector(dtype.value, lanes))
    text = vector_function(kind, name, ", ".join(f"{kind} {p}" for p in _parameters(fn)), body)
    return tuple(recorder.texts), outer + text


def _out_of_line(recorder: Recorder, expr: Instruction) -> str:
    """The function for rare arguments, if the instruction has one."""
    if not expr.steps:
        return ""
    v = vector("f32", 16)
    text = function(v, f"{v}_{expr.name}", f"{v} x", _body(recorder, expr.steps, Fn.SIN, DType.F32, 16))
    rare = text.replace("WEFT_INLINE", "static __attribute__((noinline, cold))", 1)
    return f"#if defined(__AVX512F__)\n{rare}\n#endif\n"


def _parameters(fn: Fn) -> tuple[str, ...]:
    return ("x", "y") if fn is Fn.POW else ("x",)


def _body(recorder: Recorder, steps: tuple[Step, ...], fn: Fn, dtype: DType, lanes: int) -> str:
    printer = ExprPrinter(recorder, dtype.bytes)
    scope = Scope({}, frozenset())
    shape = (lanes,) if lanes > 1 else ()
    at = At((const(0),), lanes) if lanes > 1 else At()
    for p in _parameters(fn):
        scope.tiles[p] = Tile(p, shape, dtype, lanes)
    lines = []
    for step in steps:
        if isinstance(step.expr, Instruction):
            value = _instruction(printer, step.expr, at, scope)
        else:
            value = printer.convert.cast(printer.value(step.expr, at, scope, step.dtype), step.dtype)
        value = printer.convert.canonical(value, lanes)
        kind = printer.convert.vector_type(step.dtype, lanes)
        scope.tiles[step.name] = Tile(step.name, shape, step.dtype, lanes)
        lines.append(f"const {kind} {step.name} = {value.text};")
    lines.append(f"return {steps[-1].name};")
    return "\n".join(lines)


def _instruction(printer: ExprPrinter, step: Instruction, at: At, scope: Scope) -> Value:
    """The intrinsic of AVX-512 on 16 lanes."""
    use = printer.helpers.use
    v = use(vector("f32", 16))
    texts = [printer.convert.splat(printer.value(a, at, scope), 16).text for a in step.args]
    if step.op is Wide.LOOKUP:
        table = ", ".join(literal(c, DType.F32) for c in step.table)
        text = f"_mm512_permutexvar_ps((__m512i){texts[0]}, (__m512)({v}){{{table}}})"
        return Value(f"({v}){text}", DType.F32, 16)
    x = [f"(__m512){t}" for t in texts]
    if step.op is Wide.COPYSIGN:
        # bits of the second where the first operand's are set: here the sign's
        bits = ", ".join(f"(__m512i){t}" for t in (f"{use(v + '_set')}(-0.0f)", *texts))
        return Value(f"({v})_mm512_ternarylogic_epi32({bits}, 0xac)", DType.F32, 16)
    if step.op is Wide.FLIP:
        bits = ", ".join(f"(__m512i){t}" for t in (f"{use(v + '_set')}(-0.0f)", *texts))
        return Value(f"({v})_mm512_ternarylogic_epi32({bits}, 0x6c)", DType.F32, 16)  # second ^ (first & third)
    if step.op is Wide.BEYOND:
        limit = f"(__m512){use(v + '_set')}({literal(step.table[0], DType.F32)})"
        some = f"_mm512_cmp_ps_mask({x[0]}, {limit}, _CMP_GT_OQ)"
        text = f"({v})_mm512_mask_mov_ps({x[1]}, {some}, (__m512){v}_{step.name}({texts[0]}))"
        return Value(f"{some} ? {text} : {texts[1]}", DType.F32, 16, TERNARY)
    match step.op:
        case Wide.EXPONENT:
            text = f"_mm512_getexp_ps({x[0]})"
        case Wide.MANTISSA:
            text = f"_mm512_getmant_ps({x[0]}, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan)"
        case Wide.RSQRT:
            text = f"_mm512_rsqrt14_ps({x[0]})"
        case Wide.SCALE:
            text = f"_mm512_scalef_ps({x[0]}, {x[1]})"
        case _:
            raise InternalError(f"no intrinsic for {step.op}")
    return Value(f"({v}){text}", DType.F32, 16)


def _by_halves(recorder: Recorder, fn: Fn, lanes: int) -> str:
    half = recorder.use(vector("f32", lanes // 2))
    part = recorder.use(f"{half}_half_{fn}")
    parameters = _parameters(fn)
    lines = [f"{half} {p}s[2];\nmemcpy({p}s, &{p}, sizeof {p}s);" for p in parameters]
    for k in (0, 1):
        lines.append(f"xs[{k}] = {part}({', '.join(f'{p}s[{k}]' for p in parameters)});")
    lines.append("memcpy(&x, xs, sizeof xs);\nreturn x;")
    return "\n".join(lines)
