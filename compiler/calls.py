"""The arguments of a call, and a call with everything decided.

A call has to be cheap beside kernels of some microseconds: what shapes alone decide is worked out once and remembered
(`Form`), and what is left is done with the fewest steps that NumPy offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from ..backends.target import Bindable, Executable
from ..ir.errors import CallError
from ..ir.op import Tensor
from . import arrays, extents
from .gathers import Check
from .memory import Request
from .signature import Signature
from .variants import Key

Array = np.ndarray[Any, np.dtype[Any]]
Shapes = tuple[tuple[int, ...] | None, ...]  # of the inputs and outputs; None: an output that is to be allocated
_READABLE = 0x101  # C-contiguous and aligned, of `ndarray.flags.num`
_WRITABLE = 0x501


@dataclass(frozen=True, slots=True)
class Form:
    """What the shapes of a call decide: the values of the symbols, the variant, the outputs, what to check."""

    bindings: Mapping[str, int]
    key: Key
    outputs: tuple[Request, ...]
    checks: tuple[Check, ...]


class Parameters:
    """The inputs and outputs of a kernel, and how values are accepted for them."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.tensors = (*signature.inputs, *signature.outputs)
        self.names = tuple(t.name for t in self.tensors)
        self.inputs = [(t, t.dtype.numpy) for t in signature.inputs]
        self.outputs = [(t, t.dtype.numpy) for t in signature.outputs]
        self.absent: tuple[None, ...] = (None,) * len(self.outputs)  # where no output is handed in

    def assign(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The inputs in order, and values by symbol name. Raises CallError."""
        signature = self.signature
        names = [t.name for t in signature.inputs]
        if len(args) > len(names):
            raise CallError(
                f"{signature.name}() takes {len(names)} inputs ({', '.join(names)}), {len(args)} were given"
            )
        values = dict(zip(names, args, strict=False))
        symbols: dict[str, Any] = {}
        known = [s.name for s in signature.symbols]
        for name, value in named.items():
            if name in values:
                raise CallError(f"{signature.name}() got '{name}' twice, by position and by name")
            if name in names:
                values[name] = value
            elif name in known:
                symbols[name] = value
            else:
                remedy = ", ".join([*names, *known])
                raise CallError(f"{signature.name}() has no input or symbol '{name}'", remedy=remedy)
        missing = [n for n in names if n not in values]
        if missing:
            raise CallError(f"{signature.name}() needs input{'s' * (len(missing) > 1)} {', '.join(missing)}")
        return [values[n] for n in names], symbols

    def handed(self, out: Any) -> tuple[Any, ...]:
        """The `out` argument in the order of the outputs, None for what is to be allocated: it may be an array, a
        sequence with None, or a dict. Raises CallError."""
        if type(out) is np.ndarray and len(self.outputs) == 1:
            return (out,)
        name, names = self.signature.name, [t.name for t in self.signature.outputs]
        if isinstance(out, Mapping):
            unknown = [n for n in out if n not in names]
            if unknown:
                raise CallError(f"{name}() has no output '{unknown[0]}'", remedy=", ".join(names))
            return tuple(out.get(n) for n in names)
        given = tuple(out) if isinstance(out, tuple | list) else (out,)
        if len(given) != len(names):
            raise CallError(
                f"{name}() has {len(names)} outputs ({', '.join(names)}), out has {len(given)}",
                remedy="a tuple with None for an output that is to be allocated",
            )
        return given

    def adopt(self, values: Sequence[Any]) -> list[Array]:
        """The inputs as arrays; of ordinary ones the ranks are not looked at (`solve` does). Raises CallError."""
        row: list[Array] = []
        for value, (tensor, dtype) in zip(values, self.inputs, strict=True):
            if type(value) is np.ndarray and value.dtype is dtype and value.flags.num & _READABLE == _READABLE:
                row.append(value)
            else:
                row.append(arrays.adopt(value, tensor))
        return row

    def adopt_outputs(self, handed: Sequence[Any]) -> list[Array | None]:
        """The same for outputs; None stays."""
        row: list[Array | None] = []
        for value, (tensor, dtype) in zip(handed, self.outputs, strict=True):
            if value is None or (
                type(value) is np.ndarray and value.dtype is dtype and value.flags.num & _WRITABLE == _WRITABLE
            ):
                row.append(value)
            else:
                row.append(arrays.adopt(value, tensor, writable=True))
        return row

    def solve(
        self, given: Sequence[Array], written: Sequence[Array | None], known: Mapping[str, extents.Source]
    ) -> dict[str, int]:
        """The symbols' values for these arrays. Raises CallError for an array of another rank than its tensor's,
        BindError for shapes that contradict each other."""
        shapes: list[tuple[Tensor, tuple[int, ...]]] = []
        for tensor, array in zip(self.tensors, [*given, *written], strict=True):
            if array is not None:
                arrays.check_rank(array, tensor)
                shapes.append((tensor, array.shape))
        return extents.solve(self.signature, shapes, known)


class BoundCall:
    """A kernel with its arguments. Calling it computes `outputs`; index tensors are checked again each time."""

    __slots__ = ("_before", "_keep", "_run", "outputs")

    def __init__(
        self, run: Callable[[], None], outputs: tuple[Any, ...], keep: object, before: Callable[[], None] | None
    ) -> None:
        """`run` computes with memory that `keep` owns, after `before`."""
        self._run = run
        self.outputs = outputs
        self._keep = keep
        self._before = before

    def __call__(self) -> None:
        if self._before is not None:
            self._before()
        self._run()


def bound(executable: Executable, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> Callable[[], None]:
    """The run of a program with its arguments, prepared as far as its target can."""
    if hasattr(executable, "bind"):  # `isinstance` of a protocol takes longer than the whole run
        return cast(Bindable, executable).bind(buffers, symbols, threads)
    return partial(executable, buffers, symbols, threads)
