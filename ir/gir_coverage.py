"""Whether the stores of a GIR program write every element of an output.

A store covers, at given loop indices and coordinates, one element: a box of size 1. Going outward, each coordinate and
each loop widens the boxes of its body: where the boxes of consecutive iterations meet in one dimension and agree in the
others, their union is a box again. Boxes of one body that meet are joined; of a branch, what both sides cover is kept.
Ends may use the indices of the loops further out, so tiles cut off by `min(i + 64, M)` are understood.
"""

from __future__ import annotations

from .affine import COORD, Affine, affine
from .expr import Call, Coord, Expr, Fn, Var, conjuncts, const, rewrite, walk
from .gir import Branch, Loop, Move, Program, Role, Stmt, Store
from .gir_sites import start_domain
from .ranges import Domain

Box = tuple[tuple[Expr, Expr], ...]  # per dimension: start, one past the end
MAX_BOXES = 12  # of one body; more are not looked at


def check_coverage(program: Program, unproved: list[str]) -> None:
    """Guarantee 10: reports outputs that are not shown to be written completely."""
    domain = start_domain(program)
    for tensor in program.tensors:
        if tensor.role is not Role.OUTPUT:
            continue
        if any(domain.proves(Call(Fn.LE, (extent, const(0)))) for extent in tensor.shape):
            continue
        cover = _Cover(tensor.name, tensor.shape)
        boxes = cover.join([b for k in program.kernels for b in cover.body(k.body, domain)], domain)
        if not any(_within(tuple((const(0), e) for e in tensor.shape), box, domain) for box in boxes):
            unproved.append(f"coverage: output '{tensor.name}' is not shown to be written completely")


def _within(inner: Box, outer: Box, domain: Domain) -> bool:
    return all(_at_most(b[0], a[0], domain) and _at_most(a[1], b[1], domain) for a, b in zip(inner, outer, strict=True))


def _at_most(a: Expr, b: Expr, domain: Domain) -> bool:
    return a == b or domain.proves(Call(Fn.LE, (a, b)))


class _Cover:
    def __init__(self, name: str, shape: tuple[Expr, ...]) -> None:
        self.name = name
        self.shape = shape

    def body(self, body: tuple[Stmt, ...], domain: Domain) -> list[Box]:
        out: list[Box] = []
        for stmt in body:
            match stmt:
                case Loop(var, lo, hi, step, _, inner):
                    within = domain.with_loop(var, lo, hi, step)
                    for box in self.body(inner, within):
                        out += self.widen(box, Var(var), lo, hi, step, domain, within)
                case Branch(condition, then, otherwise):
                    yes = self.body(then, domain.with_condition(condition))
                    if yes and domain.proves(condition):
                        out += yes
                    elif yes and otherwise:
                        no = self.body(otherwise, domain.with_condition(condition, False))
                        out += [_common(a, b) for a in yes for b in no]
                case Store(target, box, _, predicate) if target.buffer == self.name:
                    out += self.store(target.index, tuple(map(const, box)), predicate, domain)
                case Move(target, _, extents, predicate, fill) if target.buffer == self.name:
                    out += self.store(target.index, extents, predicate if fill is None else None, domain)
        return self.join(out, domain)

    def join(self, boxes: list[Box], domain: Domain) -> list[Box]:
        """The boxes with those that meet joined into one."""
        rest = list(dict.fromkeys(boxes))[:MAX_BOXES]
        changed = True
        while changed:
            changed = False
            for a in rest:
                for b in rest:
                    merged = self.merged(a, b, domain) if a is not b else None
                    if merged is not None:
                        rest = [r for r in rest if r is not a and r is not b] + [merged]
                        changed = True
                        break
                if changed:
                    break
        return rest

    def merged(self, a: Box, b: Box, domain: Domain) -> Box | None:
        """`a` lengthened by `b` in the one dimension where they differ, if `b` starts inside `a` or right behind."""
        apart = [k for k in range(len(a)) if a[k] != b[k]]
        if len(apart) != 1:
            return None
        axis = apart[0]
        (lo, hi), (start, end) = a[axis], b[axis]
        if not (_at_most(lo, start, domain) and _at_most(start, hi, domain)):
            return None
        longer = end if _at_most(hi, end, domain) else Call(Fn.MAX, (hi, end))
        return (*a[:axis], (lo, longer), *a[axis + 1 :])

    def store(
        self, index: tuple[Expr, ...], extents: tuple[Expr, ...], predicate: Expr | None, domain: Domain
    ) -> list[Box]:
        forms = [affine(e) for e in index]
        if any(f is None for f in forms):
            return []
        boxes: list[Box] = [tuple((e, Call(Fn.ADD, (e, const(1)))) for e in index)]
        for axis, extent in reversed(list(enumerate(extents))):
            outer = domain.with_coordinates(extents[:axis])
            within = outer.with_range(f"{COORD}{axis}", 0, Call(Fn.SUB, (extent, const(1))))
            boxes = [
                w for b in boxes for w in self.widen(b, Coord(axis), const(0), extent, 1, outer, within, uncut=True)
            ]
        everywhere = domain.with_coordinates(extents)
        for condition in conjuncts(predicate):
            if not everywhere.proves(condition):
                cut = [_clip(condition, [f for f in forms if f is not None], box) for box in boxes]
                boxes = [b for b in cut if b is not None]
        return boxes

    def widen(
        self,
        box: Box,
        index: Expr,
        lo: Expr,
        hi: Expr,
        step: int,
        outside: Domain,
        inside: Domain,
        uncut: bool = False,
    ) -> list[Box]:
        """The union over `index = lo, lo + step, ... < hi`: nothing where it is not shown to be a box."""
        moving = [k for k, ends in enumerate(box) if any(index == n for e in ends for n in walk(e))]
        if not moving:
            return [box] if outside.proves(Call(Fn.LT, (lo, hi))) else []
        start, end = box[moving[0]]
        form = affine(start)
        if len(moving) > 1 or form is None:
            return []
        name = f"{COORD}{index.axis}" if isinstance(index, Coord) else index.name if isinstance(index, Var) else ""
        factor = form.coefficients.get(name, 0)
        stride = const(abs(factor) * step)  # what an iteration has to cover for the next one to meet it
        following = Call(Fn.ADD, (start, stride))
        plain = _at_most(following, end, inside)
        if factor > 0 and plain:
            new = (_at(start, index, lo), _at(start, index, hi))
        elif factor < 0 and plain:
            new = (
                _at(start, index, Call(Fn.SUB, (hi, const(step)))),
                _at(following, index, lo),
            )
        elif factor > 0 and not uncut:
            # the last boxes may be cut off, at the end of the dimension: there nothing is missing
            limit = self.shape[moving[0]]
            if not inside.proves(Call(Fn.OR, (Call(Fn.LE, (following, end)), Call(Fn.LE, (limit, end))))):
                return []
            new = (_at(start, index, lo), Call(Fn.MIN, (_at(start, index, hi), limit)))
        else:
            return []
        return [(*box[: moving[0]], new, *box[moving[0] + 1 :])]


def _at(expr: Expr, index: Expr, value: Expr) -> Expr:
    found = rewrite(expr, lambda e: value if e == index else None)
    form = affine(found)
    return found if form is None else form.to_expr()


def _common(a: Box, b: Box) -> Box:
    """What two boxes share."""
    return tuple(
        (p[0] if p[0] == q[0] else Call(Fn.MAX, (p[0], q[0])), p[1] if p[1] == q[1] else Call(Fn.MIN, (p[1], q[1])))
        for p, q in zip(a, b, strict=True)
    )


def _clip(condition: Expr, forms: list[Affine], box: Box) -> Box | None:
    """The box narrowed in the dimension whose index the condition compares; None if it says anything else."""
    match condition:
        case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, (a, b)):
            left, right = affine(a), affine(b)
        case _:
            return None
    if left is None or right is None:
        return None
    if fn in (Fn.GT, Fn.GE):
        left, right, fn = right, left, Fn.LT if fn is Fn.GT else Fn.LE
    limit = right - left  # limit > 0 or limit >= 0
    if fn is Fn.LE:
        limit = limit + Affine((), 1)
    for axis, form in enumerate(forms):
        lo, hi = box[axis]
        above = limit + form  # the condition says: index < above
        if form.terms and not any(n.startswith(COORD) for n, _ in above.terms):
            return (*box[:axis], (lo, Call(Fn.MIN, (hi, above.to_expr()))), *box[axis + 1 :])
        below = form - limit  # the condition says: index > below
        if form.terms and not any(n.startswith(COORD) for n, _ in below.terms):
            start = Call(Fn.MAX, (lo, (below + Affine((), 1)).to_expr()))
            return (*box[:axis], (start, hi), *box[axis + 1 :])
    return None
