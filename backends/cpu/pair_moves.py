"""Copies into a layout of pairs, `target[..., j, 2]` of 16-bit elements, a pair at a time.

    move<8, 64, 2> p[@0, @1, @2] = x[2*@0 + @2, @1]       two rows of x, interleaved
    move<8, 64, 2> p[@0, @1, @2] = x[@1, 2*@0 + @2]       columns of pairs: a transposition of 32-bit values

The last axis of such a copy, of extent 2, is no loop of its own: one value of 32 bits holds both elements. They lie
side by side in the source (one load), or are loaded apart and joined.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.expr import Call, Const, Coord, Expr, Fn, Ref, as_int, const, rewrite, walk
from ...ir.gir import Access, Load, Move, Stmt, Store


@dataclass(frozen=True)
class PairMove(Move):
    """A move whose box lacks the axis of the pair, which its indices still name: the coordinate after the last."""

    apart: bool = False


@dataclass(frozen=True)
class PairStore(Store):
    """Stores the bits of two neighbours, as i32."""


@dataclass(frozen=True)
class BitsLoad(Load):
    """Loads the bits of one element of 16 bits, as i32 with zeros above."""


def paired(move: Move) -> Move:
    """The same move pair by pair, where its target has such a layout. Both buffers hold the same 16-bit type."""
    pair = len(move.shape) - 1
    if pair < 1 or as_int(move.shape[pair]) != 2 or move.target.index[-1] != Coord(pair):
        return move
    if any(_uses(e, pair) for e in move.target.index[:-1]) or not move.source.index:
        return move
    if move.predicate is not None and not _is_zero(move.fill):
        return move
    last = affine(move.source.index[-1])
    beside = last is not None and last.coefficients.get(f"@{pair}") == 1
    beside = beside and not any(_uses(e, pair) for e in move.source.index[:-1])
    if beside and move.predicate is not None and _uses(move.predicate, pair):
        return move
    given = {f.name: getattr(move, f.name) for f in fields(Move)}
    return PairMove(**{**given, "shape": move.shape[:-1]}, apart=not beside)


def _uses(expr: Expr, axis: int) -> bool:
    return any(isinstance(n, Coord) and n.axis == axis for n in walk(expr))


def _is_zero(fill: Expr | None) -> bool:
    return isinstance(fill, Const) and fill.value == 0 and str(fill.value)[0] != "-"


def contiguous_pairs(move: PairMove, is_target: bool) -> int | None:
    """The axis along which neighbouring values of 32 bits are neighbours in memory, in the target or the source; of a
    source whose elements are loaded apart, that along which elements are."""
    access, rank = (move.target if is_target else move.source), len(move.shape)
    here, step = (access.index[:-1], 1) if is_target else (access.index, 1 if move.apart else 2)
    last = affine(here[-1]) if here else None
    if last is None:
        return None
    for axis in range(rank):
        if last.coefficients.get(f"@{axis}") == step and not any(_uses(e, axis) for e in here[:-1]):
            return axis
    return None


def copy_pairs(
    move: PairMove, values: dict[int, Expr], shape: tuple[int, ...], inside: Expr | None
) -> tuple[Stmt, ...]:
    """One piece: coordinates become what `values` says; `inside` where it ends before its box does."""

    def place(e: Expr, half: int) -> Expr:
        at: dict[int, Expr] = {**values, len(move.shape): const(half)}
        return rewrite(e, lambda n: at[n.axis] if isinstance(n, Coord) else None)

    def there(access: Access, half: int) -> Access:
        return Access(access.buffer, tuple(place(e, half) for e in access.index))

    def where(half: int) -> Expr | None:
        terms = [inside, None if move.predicate is None else place(move.predicate, half)]
        found = [t for t in terms if t is not None]
        return None if not found else found[0] if len(found) == 1 else Call(Fn.AND, (found[0], found[1]))

    def load(half: int, name: str) -> Load:
        kind = BitsLoad if move.apart else Load
        read = where(half)
        fill = None if read is None else Const(0, DType.I32)
        return kind(name, shape, there(move.source, half), read, fill, move.location, not move.apart)

    loads: tuple[Load, ...] = (load(0, "$move"),)
    value: Expr = Ref("$move")
    if move.apart:
        loads += (load(1, "$next"),)
        value = Call(Fn.ADD, (value, Call(Fn.MUL, (Ref("$next"), Const(65536, DType.I32)))))
    # predicates have a fill, so the whole box is written
    return (*loads, PairStore(there(move.target, 0), shape, value, inside, location=move.location))
