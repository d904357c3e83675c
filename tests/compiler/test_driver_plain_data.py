"""Options as JSON data: what goes out comes back, what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum

import pytest
from weft.compiler.plain_data import from_plain, to_plain
from weft.ir.errors import UserError


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    pairs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Outer:
    names: frozenset[str] = frozenset()
    inner: Inner | None = None
    size: int = 3
    ratio: float = 0.5
    on: bool = False
    colour: Colour = Colour.RED
    notes: tuple[str, ...] = field(default=())


def test_round_trip_through_json() -> None:
    made = Outer(frozenset({"b", "a"}), Inner((("x", 1), ("y", 2))), 7, 0.25, True, Colour.RED, ("n",))
    text = json.dumps(to_plain(made))
    assert from_plain(Outer, json.loads(text)) == made
    assert '["a", "b"]' in text
    assert from_plain(Outer, {}) == Outer()


@pytest.mark.parametrize(
    "data,message",
    [
        ({"size": "3"}, r"Outer\.size: '3' is not int"),
        ({"size": True}, r"Outer\.size"),
        ({"ratio": float("nan")}, r"Outer\.ratio"),
        ({"colour": "blue"}, r"Outer\.colour"),
        ({"inner": {"pairs": [["x"]]}}, r"Outer\.inner"),
        ({"other": 1}, "no field 'other'"),
        ([], "not Outer"),
    ],
)
def test_what_does_not_fit_is_named(data: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_plain(Outer, data)


def test_only_plain_values() -> None:
    with pytest.raises(UserError, match="not plain data"):
        to_plain(object())
    with pytest.raises(UserError, match="not plain data"):
        to_plain(float("inf"))
