"""Whether the stores of a GIR program write every element of an output, for stores whose indices are boxes.

A store covers, along each dimension, an interval: its index is a sum of loop indices and coordinates, each used in that
dimension only, whose strides fit together without holes (the innermost has stride 1, each further one a stride of at
most what the inner ones cover). Boxes that are full in all dimensions but one are chained along that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .affine import COORD, Affine, affine
from .expr import Call, Const, Expr, Fn, as_int, const, variables
from .gir import Branch, Loop, Move, Program, Role, Stmt, Store
from .gir_sites import start_domain
from .ranges import Domain


@dataclass(frozen=True)
class _Span:
    """Start, one past the end, and step of a loop index or a coordinate."""

    lo: Expr
    hi: Expr
    step: int


Box = tuple[tuple[Expr, Expr], ...]  # per dimension: start, one past the end
Spans = dict[str, _Span]


def check_coverage(program: Program, unproved: list[str]) -> None:
    """Guarantee 10: reports outputs that are not shown to be written completely."""
    domain = start_domain(program)
    for tensor in program.tensors:
        if tensor.role is not Role.OUTPUT:
            continue
        boxes = [b for k in program.kernels for b in _boxes(k.body, {}, tensor.name, tensor.shape, domain)]
        if not _covered(boxes, tensor.shape, domain):
            unproved.append(f"coverage: output '{tensor.name}' is not shown to be written completely")


def _boxes(body: tuple[Stmt, ...], spans: Spans, name: str, shape: tuple[Expr, ...], domain: Domain) -> Iterator[Box]:
    for stmt in body:
        match stmt:
            case Loop(var, lo, hi, step, _, inner):
                yield from _boxes(inner, {**spans, var: _Span(lo, hi, step)}, name, shape, domain)
            case Branch(condition, then, otherwise):
                yes, no = (list(_boxes(side, spans, name, shape, domain)) for side in (then, otherwise))
                yield from (b for b in yes if b in no or domain.proves(condition))
            case Store(target, box, _, predicate) if target.buffer == name:
                found = _box(target.index, tuple(map(const, box)), predicate, spans, shape, domain)
                if found is not None:
                    yield found
            case Move(target, _, box, predicate, fill) if target.buffer == name:
                found = _box(target.index, box, predicate if fill is None else None, spans, shape, domain)
                if found is not None:
                    yield found


def _box(
    index: tuple[Expr, ...],
    box: tuple[Expr, ...],
    predicate: Expr | None,
    spans: Spans,
    shape: tuple[Expr, ...],
    domain: Domain,
) -> Box | None:
    here = {**spans, **{f"{COORD}{k}": _Span(const(0), e, 1) for k, e in enumerate(box)}}
    forms = [affine(e) for e in index]
    used: set[str] = set()
    out: list[tuple[Expr, Expr]] = []
    for form in forms:
        if form is None:
            return None
        mine = {n for n, _ in form.terms if n in here}
        if mine & used:
            return None
        used |= mine
        interval = _interval(form, here)
        if interval is None:
            return None
        out.append(interval)
    for name, span in here.items():
        if variables(span.lo) & set(spans) or variables(span.hi) & set(spans):
            return None  # a loop whose range depends on another loop
        if name not in used and not domain.proves(Call(Fn.LT, (span.lo, span.hi))):
            return None  # a loop around the store that may not run at all
    for condition in _conjuncts(predicate):
        if not _clip(condition, forms, out, set(here)):
            return None
    return tuple(out)


def _interval(form: Affine, spans: Spans) -> tuple[Expr, Expr] | None:
    """What `form` reaches without holes: [start, end)."""
    start = form.drop({n for n, _ in form.terms if n in spans}).to_expr()
    terms = sorted((c * spans[n].step, c, n) for n, c in form.terms if n in spans)
    if any(c < 0 for _, c, _ in terms):
        return None
    length = 1
    for place, (stride, factor, name) in enumerate(terms):
        if stride > length:
            return None
        span = spans[name]
        start = Call(Fn.ADD, (start, Call(Fn.MUL, (span.lo, const(factor)))))
        lo, hi = as_int(span.lo), as_int(span.hi)
        if place == len(terms) - 1:
            reach: Expr = Call(Fn.MUL, (Call(Fn.SUB, (span.hi, span.lo)), const(factor)))
            if lo is not None and hi is not None:
                trips = max(0, -(-(hi - lo) // span.step))
                reach = const((trips - 1) * stride + length if trips else 0)
            return start, Call(Fn.ADD, (start, reach))
        if lo is None or hi is None or hi <= lo:
            return None
        length += (-(-(hi - lo) // span.step) - 1) * stride
    return start, Call(Fn.ADD, (start, const(length)))


def _conjuncts(predicate: Expr | None) -> Iterator[Expr]:
    match predicate:
        case None | Const(True):
            return
        case Call(Fn.AND, (a, b)):
            yield from _conjuncts(a)
            yield from _conjuncts(b)
        case _:
            yield predicate


def _clip(condition: Expr, forms: list[Affine | None], out: list[tuple[Expr, Expr]], names: set[str]) -> bool:
    """Narrow the interval of the dimension whose index the condition compares; False if it says anything else."""
    match condition:
        case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, (a, b)):
            left, right = affine(a), affine(b)
        case _:
            return False
    if left is None or right is None:
        return False
    if fn in (Fn.GT, Fn.GE):
        left, right, fn = right, left, Fn.LT if fn is Fn.GT else Fn.LE
    limit = right - left  # limit > 0 or limit >= 0
    if fn is Fn.LE:
        limit = limit + Affine((), 1)
    for axis, form in enumerate(forms):
        assert form is not None
        lo, hi = out[axis]
        above = limit + form  # the condition says: index < above
        if form.terms and not names & set(above.coefficients):
            out[axis] = lo, Call(Fn.MIN, (hi, above.to_expr()))
            return True
        below = form - limit  # the condition says: index > below
        if form.terms and not names & set(below.coefficients):
            out[axis] = Call(Fn.MAX, (lo, (below + Affine((), 1)).to_expr())), hi
            return True
    return False


def _covered(boxes: list[Box], shape: tuple[Expr, ...], domain: Domain) -> bool:
    for extent in shape:
        if domain.proves(Call(Fn.LE, (extent, const(0)))):
            return True

    def full(box: Box, axis: int) -> bool:
        lo, hi = box[axis]
        return domain.proves(Call(Fn.LE, (lo, const(0)))) and domain.proves(Call(Fn.GE, (hi, shape[axis])))

    if not shape:
        return bool(boxes)
    state = [[full(b, k) for k in range(len(shape))] for b in boxes]
    for axis, extent in enumerate(shape):
        rest = [b[axis] for b, f in zip(boxes, state, strict=True) if all(f[:axis] + f[axis + 1 :])]
        reached: Expr = const(0)
        while rest:
            if domain.proves(Call(Fn.GE, (reached, extent))):
                break
            following = next((p for p in rest if domain.proves(Call(Fn.LE, (p[0], reached)))), None)
            if following is None:
                break
            rest.remove(following)
            reached = Call(Fn.MAX, (reached, following[1]))
        if domain.proves(Call(Fn.GE, (reached, extent))):
            return True
    return False
