"""A compiled operator that can be called.

The way of a call: adopt the arguments (`arrays`), solve for the symbols (`extents`), check index tensors (`gathers`),
allocate what is missing (`memory`), pick or build the variant for these extents (`variants`), run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import settings
from ..backends.target import Executable, Target
from ..ir import gir
from ..ir.errors import CallError
from ..ir.op import Op, Tensor
from . import arrays, extents, gathers, memory
from .extents import Source
from .signature import Signature, signature_of
from .variants import Key, Variant, Variants

if TYPE_CHECKING:
    from .cache import Shelf
    from .cost import CostReport
    from .lower import LowerResult
    from .lower_options import LowerOptions

Array = np.ndarray[Any, np.dtype[Any]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
REMEMBERED = 256  # combinations of shapes whose symbols need not be solved for again


class Specialise(Enum):
    """When extents that compile() does not bind become constants."""

    AUTO = "auto"  # at the first call with them: one variant per combination, the least recently used dropped
    NEVER = "never"  # not at all: one variant with symbolic extents


@dataclass(frozen=True)
class Options:
    """How a kernel was asked for; everything that its saved form must remember. `bind` is in the symbols' order."""

    target: str
    bind: tuple[tuple[str, int], ...] = ()
    threads: int | None = None
    specialise: Specialise = Specialise.AUTO
    machine: str | None = None
    schedule: LowerOptions | None = None


class Kernel:
    """`y = k(x)`, `k(x, out=y)`, `k(x=x, N=3)`: inputs in the order of the operator or by name, symbols by name.

    Safe to call from several threads. Raises CallError for an argument it cannot use, BindError for extents that
    contradict each other.
    """

    def __init__(
        self,
        program: Op | gir.Program,
        target: Target,
        options: Options,
        lower: Callable[[Mapping[str, int], LowerOptions | None], LowerResult] | None,
        limit: int,
        clear: bool = False,
        shelf: Shelf | None = None,
        choose: Callable[[Mapping[str, int]], LowerOptions | None] | None = None,
    ) -> None:
        """`lower` schedules the op with some symbols bound; None for a program that is already scheduled. `clear`:
        outputs are zeroed before each call, because the program is not shown to write all of them. `shelf`: where
        variants are kept for other kernels and processes, if anywhere. `choose`: the options for some symbols, where
        they are not those of `options`."""
        self.program = program
        self.target = target
        self.options = options
        self.signature: Signature = signature_of(program)
        self._lower = lower
        self._clear = clear
        self._shelf = shelf
        self._choose = choose
        self._gathers = gathers.find(program) if isinstance(program, Op) else ()
        self._fixed = {name: Source(value, "bind") for name, value in options.bind}
        self._variants: Variants[Key] = Variants(self._build, limit)
        self._solved: dict[Shapes, dict[str, int]] = {}

    @property
    def name(self) -> str:
        return self.signature.name

    def __repr__(self) -> str:
        inputs = ", ".join(_declaration(t) for t in self.signature.inputs)
        outputs = ", ".join(_declaration(t) for t in self.signature.outputs)
        return f"<weft.Kernel {self.name}({inputs}) -> ({outputs}) on {self.target.name}>"

    # -- calling

    def __call__(self, /, *args: Any, out: Any = None, **named: Any) -> Any:
        """The output, or a tuple of the outputs in order. What is handed in as `out` is written to and returned."""
        call = self._prepare(args, out, named)
        call()
        return call.outputs if len(call.outputs) != 1 else call.outputs[0]

    def bind(self, /, *args: Any, out: Any = None, **named: Any) -> BoundCall:
        """A call with everything decided: run it as often as needed, it only computes.

        The arrays must stay as they are (no resize). Not to be run by two threads at once: outputs and temporaries
        are its own.
        """
        return self._prepare(args, out, named)

    def _prepare(self, args: Sequence[Any], out: Any, named: Mapping[str, Any]) -> BoundCall:
        values, symbols = self._assign(args, named)
        inputs = {t.name: arrays.adopt(values[t.name], t) for t in self.signature.inputs}
        handed = self._outputs(out)
        written = [t for t in self.signature.outputs if t.name in handed]
        outputs = {t.name: arrays.adopt(handed[t.name], t, writable=True) for t in written}
        bindings = self._solve(inputs, outputs, symbols)
        places = {n: arrays.extent(n, a) for n, a in (*inputs.items(), *outputs.items())}
        if outputs:
            arrays.check_overlap([places[n] for n in inputs], [places[n] for n in outputs])
        variant = self._variants.get(self._key(bindings))
        executable = variant.executable
        for tensor in self.signature.outputs:
            if tensor.name not in outputs:
                shape = extents.shape_of(tensor, bindings)
                outputs[tensor.name] = memory.empty(shape, tensor.dtype.numpy, tensor.name)
                places[tensor.name] = arrays.extent(tensor.name, outputs[tensor.name])
        keep: list[object] = [inputs, outputs, values]
        for temporary in variant.interface.tensors:
            if temporary.role is gir.Role.TEMP:
                shape = tuple(extents.evaluate(e, bindings) for e in temporary.shape)
                scratch = memory.empty(shape, temporary.dtype.numpy, temporary.name)
                places[temporary.name] = arrays.extent(temporary.name, scratch)
                keep.append(scratch)
        return BoundCall(
            executable,
            [places[t.name].lo for t in variant.interface.tensors],
            [bindings[s.name] for s in variant.interface.symbols],
            self.options.threads or settings.current().threads or settings.threads_available(),
            tuple(handed.get(t.name, outputs[t.name]) for t in self.signature.outputs),
            tuple(keep),
            self._before(bindings, inputs, outputs),
        )

    def _before(
        self, bindings: Mapping[str, int], inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> Callable[[], None] | None:
        """What has to be done each time before the program runs, if anything."""
        if self._clear:
            written = tuple(outputs.values())

            def clear() -> None:
                for array in written:
                    array.fill(0)

            return clear
        if self._gathers:
            return lambda: gathers.check(self._gathers, bindings, inputs)
        return None

    def _solve(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], symbols: Mapping[str, Any]
    ) -> dict[str, int]:
        """The symbols' values for these arrays. What shapes alone decide is remembered."""
        shapes = tuple((n, a.shape) for n, a in (*inputs.items(), *outputs.items()))
        if not symbols and shapes in self._solved:
            return self._solved[shapes]
        given = self._fixed | extents.check_bindings(self.signature, symbols, "the call")
        tensors = {t.name: t for t in (*self.signature.inputs, *self.signature.outputs)}
        bindings = extents.solve(self.signature, [(tensors[n], s) for n, s in shapes], given)
        if not symbols:
            if len(self._solved) >= REMEMBERED:
                self._solved.clear()
            self._solved[shapes] = bindings
        return bindings

    def _assign(self, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arguments by tensor name, and values by symbol name."""
        names = [t.name for t in self.signature.inputs]
        if len(args) > len(names):
            raise CallError(f"{self.name}() takes {len(names)} inputs ({', '.join(names)}), {len(args)} were given")
        values = dict(zip(names, args, strict=False))
        symbols: dict[str, Any] = {}
        known = [s.name for s in self.signature.symbols]
        for name, value in named.items():
            if name in values:
                raise CallError(f"{self.name}() got '{name}' twice, by position and by name")
            if name in names:
                values[name] = value
            elif name in known:
                symbols[name] = value
            else:
                raise CallError(f"{self.name}() has no input or symbol '{name}'", remedy=", ".join([*names, *known]))
        missing = [n for n in names if n not in values]
        if missing:
            raise CallError(f"{self.name}() needs input{'s' * (len(missing) > 1)} {', '.join(missing)}")
        return values, symbols

    def _outputs(self, out: Any) -> dict[str, Any]:
        """The `out` argument by tensor name; an array, a sequence with None for what is to be allocated, or a dict."""
        tensors = self.signature.outputs
        names = [t.name for t in tensors]
        if out is None:
            return {}
        if isinstance(out, Mapping):
            unknown = [n for n in out if n not in names]
            if unknown:
                raise CallError(f"{self.name}() has no output '{unknown[0]}'", remedy=", ".join(names))
            return {n: v for n, v in out.items() if v is not None}
        given = tuple(out) if isinstance(out, tuple | list) else (out,)
        if len(given) != len(names):
            raise CallError(
                f"{self.name}() has {len(names)} outputs ({', '.join(names)}), out has {len(given)}",
                remedy="a tuple with None for an output that is to be allocated",
            )
        return {n: v for n, v in zip(names, given, strict=True) if v is not None}

    # -- variants

    def _key(self, bindings: Mapping[str, int]) -> Key:
        if self._lower is None or self.options.specialise is Specialise.NEVER:
            return self.options.bind
        return tuple(bindings.items())

    def _build(self, key: Key) -> Variant:
        bindings = dict(key)
        lowering = self._choose(bindings) if self._choose is not None else self.options.schedule

        def scheduled() -> gir.Program:
            if self._lower is not None:
                return self._lower(bindings, lowering).program
            assert isinstance(self.program, gir.Program)
            return self.program

        if self._shelf is None:
            return Variant(bindings, scheduled(), self.target)
        return replace(self._shelf, schedule=lowering).variant(self.program, bindings, scheduled)

    def variant(self, **symbols: int) -> Variant:
        """The compiled form for these extents; without any, the one called last, or else the symbolic form."""
        if not symbols:
            return self._variants.latest or self._variants.get(self.options.bind)
        given = self._fixed | extents.check_bindings(self.signature, symbols, "the call")
        bindings = extents.solve(self.signature, (), given)
        return self._variants.get(self._key(bindings))

    def adopt_variant(self, bindings: Mapping[str, int], program: gir.Program) -> None:
        """Use a program that was scheduled before (a saved kernel's) for these extents."""
        if self._shelf is None:
            variant = Variant(bindings, program, self.target)
        else:
            variant = self._shelf.variant(program, bindings, lambda: program)
        self._variants.put(tuple(bindings.items()), variant)

    # -- looking inside

    @property
    def source(self) -> str:
        """The main text that the target emits: C, CUDA, LLVM IR. Of the variant called last."""
        emitted = self.variant().emitted
        return emitted.files[emitted.main]

    def text(self, form: str = "gir", **symbols: int) -> str:
        """The program as "op", "gir" or "graph" (one instruction graph per kernel), with these extents bound."""
        from . import forms

        return forms.text(self, form, symbols)

    def cost(self, **symbols: int) -> CostReport:
        """Bytes at each level beside compulsory bytes, flops, predicted time and what bounds it."""
        from . import forms

        return forms.cost(self, symbols)

    def save(self, directory: str | Path, emit: Sequence[str] | None = None, **symbols: int) -> Path:
        """Header, source, library and manifest in a directory that appears all at once; `weft.load` reads it.

        `emit` names some of "source", "header", "library", "manifest"; left out, all of them, the library only where
        a compiler exists. Raises UserError where the directory holds something else, TargetError where a library is
        asked for and cannot be made.
        """
        from . import saved

        return saved.save(self, Path(directory), emit, symbols)


class BoundCall:
    """A kernel with its arguments. Calling it computes `outputs`; index tensors are checked again each time."""

    __slots__ = ("_arguments", "_before", "_executable", "_keep", "outputs")

    def __init__(
        self,
        executable: Executable,
        buffers: list[int],
        symbols: list[int],
        threads: int,
        outputs: tuple[Any, ...],
        keep: tuple[Any, ...],
        before: Callable[[], None] | None,
    ) -> None:
        self._executable = executable
        self._arguments = (buffers, symbols, threads)
        self.outputs = outputs
        self._keep = keep
        self._before = before

    def __call__(self) -> None:
        if self._before is not None:
            self._before()
        self._executable(*self._arguments)


def _declaration(tensor: Tensor) -> str:
    shape = ", ".join(extents.text(e) for e in tensor.shape)
    return f"{tensor.name}: {tensor.dtype}[{shape}]"
