"""Frozen dataclasses of plain values as JSON data and back, checked field by field against their annotations.

Known are bool, int, finite float, str, None, `tuple[T, ...]`, `tuple[A, B]`, `frozenset[T]`, unions with None,
enums (by value) and dataclasses of these. Sets become sorted lists, so that equal objects give equal text.
"""

from __future__ import annotations

import math
import types
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..ir.errors import UserError

T = TypeVar("T")
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def to_plain(value: Any) -> Plain:
    """Data that `json.dumps` takes. Raises UserError for a value of another kind."""
    if isinstance(value, Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, frozenset):
        return sorted((to_plain(v) for v in value), key=repr)
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    raise UserError(f"{value!r} is not plain data")


def from_plain(cls: type[T], data: Any) -> T:
    """An instance of the dataclass `cls`. Raises UserError naming the field that does not fit."""
    made: T = _read(cls, data, cls.__name__)
    return made


def _read(kind: Any, data: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        for option in arguments:
            try:
                return _read(option, data, where)
            except UserError:
                continue
        raise _mismatch(kind, data, where)
    if kind is types.NoneType:
        return _expect(data is None, kind, data, where, data)
    if kind in (bool, int, str):
        return _expect(type(data) is kind, kind, data, where, data)
    if kind is float:
        return _expect(type(data) in (int, float) and math.isfinite(data), kind, data, where, data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        found = [e for e in kind if type(e.value) is type(data) and e.value == data]
        return _expect(len(found) == 1, kind, data, where, found[0] if found else None)
    if isinstance(kind, type) and is_dataclass(kind):
        _expect(isinstance(data, dict), kind, data, where, data)
        hints = get_type_hints(kind)
        unknown = sorted(set(data) - {f.name for f in fields(kind)})
        if unknown:
            names = ", ".join(f.name for f in fields(kind))
            raise UserError(f"{where} has no field '{unknown[0]}'", remedy=names)
        return kind(**{n: _read(hints[n], v, f"{where}.{n}") for n, v in data.items()})
    if origin in (tuple, frozenset):
        _expect(isinstance(data, list | tuple | frozenset | set), kind, data, where, data)
        items = list(data)
        if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_read(arguments[0], v, where) for v in items)
        if origin is frozenset:
            return frozenset(_read(arguments[0], v, where) for v in items)
        _expect(len(items) == len(arguments), kind, data, where, data)
        return tuple(_read(a, v, where) for a, v in zip(arguments, items, strict=True))
    raise _mismatch(kind, data, where)


def _expect(fits: bool, kind: Any, data: Any, where: str, value: Any) -> Any:
    if not fits:
        raise _mismatch(kind, data, where)
    return value


def _mismatch(kind: Any, data: Any, where: str) -> UserError:
    return UserError(f"{where}: {data!r} is not {getattr(kind, '__name__', kind)}")
