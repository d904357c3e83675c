"""Recurrences: definitions that read themselves, and the order in which their elements are computed."""

from __future__ import annotations

from .errors import VerifyError
from .expr import Boundary, Read
from .op import Axis, Definition, Pointwise, constant_offset


def offsets(definition: Definition) -> list[tuple[int, ...]]:
    """The constant offsets of all self reads, in order of appearance, without repetition. Raises VerifyError."""
    out: dict[tuple[int, ...], None] = {}
    for read in definition.self_reads:
        out[_offset(read, definition)] = None
    return list(out)


def sweep_direction(definition: Definition) -> int:
    """+1 where every self read is lexicographically earlier (a forward sweep) or there is none, -1 where all are later.

    Raises VerifyError where they disagree or an element reads itself.
    """
    signs: dict[int, Read] = {}
    for read in definition.self_reads:
        signs.setdefault(_sign(_offset(read, definition)), read)
    if 0 in signs:
        raise VerifyError(
            f"`{signs[0].tensor}` reads the element being computed", signs[0].location, "read an earlier one: `[t - 1]`"
        )
    if len(signs) > 1:
        raise VerifyError(
            f"`{definition.name}` reads itself both earlier and later",
            signs[-1].location,
            "a sweep goes one way: split it into a forward and a backward definition",
        )
    return next(iter(signs), 1)


def ordered_axes(definition: Definition) -> tuple[Axis, ...]:
    """The axes along which some self read has an offset: order matters along these, and along no other."""
    found = offsets(definition)
    return tuple(a for k, a in enumerate(definition.axes) if any(o[k] for o in found))


def _sign(offset: tuple[int, ...]) -> int:
    first = next((o for o in offset if o), 0)
    return (first < 0) - (first > 0)


def _offset(read: Read, definition: Definition) -> tuple[int, ...]:
    if not isinstance(definition.body, Pointwise):
        raise VerifyError(
            f"`{read.tensor}` reads itself inside a reduction",
            read.location,
            "a recurrence is pointwise: move the reduction into its own definition",
        )
    found = constant_offset(read, definition.axes)
    if found is None:
        axes = ", ".join(a.name for a in definition.axes)
        raise VerifyError(
            f"`{read.tensor}` reads itself at an offset that is not constant",
            read.location,
            f"index it by the free axes [{axes}] in order, each plus or minus a constant",
        )
    if read.boundary not in (Boundary.NONE, Boundary.PAD):
        raise VerifyError(
            f"`{read.tensor}` reads itself with the boundary {read.boundary.value}",
            read.location,
            "outside the grid a recurrence reads a value: `.pad(value)`",
        )
    return found
