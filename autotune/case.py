"""Arrays that candidates are tried on, as files: what the tuner hands to its worker. Nothing in them is an object.

case.json                  tensors of the program, in order: name, dtype, shape; values of its symbols
input-NAME.npy             bf16 as its 16 bits
expected-NAME.npy          the outputs to compare with, once they are known
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import extents
from ..compiler.plain_data import from_plain, to_plain
from ..ir.dtypes import DType
from ..ir.op import Op

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Slot:
    """A tensor with all its extents known."""

    name: str
    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """The inputs and outputs of an op at some extents."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    bind: tuple[tuple[str, int], ...]


def write_case(folder: Path, op: Op, bindings: Mapping[str, int], inputs: Mapping[str, Array]) -> Case:
    """Write inputs and description to a new folder. The arrays are only read."""
    folder.mkdir(mode=0o700)
    slots = [
        tuple(Slot(t.name, t.dtype, extents.shape_of(t, bindings)) for t in tensors)
        for tensors in (op.inputs, op.outputs)
    ]
    case = Case(slots[0], slots[1], tuple(bindings.items()))
    for slot in case.inputs:
        _save(folder / f"input-{slot.name}.npy", np.asarray(inputs[slot.name]).astype(slot.dtype.numpy, copy=False))
    (folder / "case.json").write_text(json.dumps(to_plain(case)))
    return case


def read_case(folder: Path) -> Case:
    return from_plain(Case, json.loads((folder / "case.json").read_text()))


def read_input(folder: Path, slot: Slot) -> Array:
    """A view of the file: nothing that is done to copies of it changes it."""
    return _load(folder / f"input-{slot.name}.npy", slot.dtype)


def write_expected(folder: Path, outputs: Mapping[str, Array]) -> None:
    for name, array in outputs.items():
        _save(folder / f"expected-{name}.npy", np.asarray(array))


def read_expected(folder: Path, slot: Slot) -> Array:
    """In float64, or as the output's own type where a kernel made it."""
    return _load(folder / f"expected-{slot.name}.npy", slot.dtype)


def _save(path: Path, array: Array) -> None:
    plain = array.view(np.uint16) if array.dtype == DType.BF16.numpy else array  # .npy has no name for bf16
    np.save(path, plain, allow_pickle=False)


def _load(path: Path, dtype: DType) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.view(dtype.numpy) if dtype is DType.BF16 and array.dtype == np.uint16 else array
