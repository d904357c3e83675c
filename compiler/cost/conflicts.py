"""Cache sets: rows whose distance is a multiple of a large power of two fall into few sets and push each other out.

A cache of W bytes per way holds, of rows that lie G = gcd(W, distances) bytes apart modulo W, at most W / G different
places, `ways` lines each. So a footprint may be far smaller than the cache and not stay in it: sixteen rows of a matrix
with 4 KiB rows in an L1 cache of eight ways. (Conflict misses of tiles: Lam, Rothberg and Wolf, ASPLOS 1991.)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd, prod

from .footprint import Buffer, Entry, span_of


def conflicts(entry: Entry, buffer: Buffer, middle: Mapping[str, float], line: int, size: int, ways: int,
              spare: float) -> float:  # fmt: skip
    """The share of this footprint's lines that do not stay in a cache of `size` bytes with so many ways: nothing where
    it takes `spare` of the sets that its rows can reach (others use them too), all where it takes half of them more."""
    rows, run = rows_of(entry, buffer, middle)
    count = prod(n for n, _ in rows)
    run = -(-run // line) * line
    if count < 2 or run * count > size:  # it does not fit for other reasons
        return 0.0
    way = size // ways
    apart = gcd(way, *(distance for _, distance in rows))
    places = min(count, way // apart)
    taken = count * run / (min(way, places * run) * ways)
    return min(1.0, max(0.0, 2.0 * (taken - spare)))


def rows_of(entry: Entry, buffer: Buffer, middle: Mapping[str, float]) -> tuple[list[tuple[int, int]], int]:
    """Number and distance in bytes of the rows along each dimension that has several, and the bytes of one row."""
    rows: list[tuple[int, int]] = []
    run, stride, whole = 1, 1, True
    for dim, extent in zip(reversed(entry), reversed(buffer.extents), strict=True):
        span = int(min(max(span_of(dim, middle), 1.0), max(extent, 1.0)))
        count = int(max(min(dim.count, span), 1.0))
        if whole and count >= span * 0.99:
            run *= span
            whole = span >= extent
        elif count > 1:
            rows.append((count, stride * max(1, (span - 1) // (count - 1)) * buffer.element))
            whole = False
        else:
            whole = False
        stride *= max(1, int(extent))
    return rows, run * buffer.element
