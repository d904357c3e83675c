"""A compiled operator that can be called.

The way of a call: adopt the arguments (`calls`, `arrays`), solve for the symbols (`extents`) unless such shapes were
seen before, allocate what is missing (`memory`), pick or build the variant for these extents (`variants`), check index
tensors (`gathers`), run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import settings
from ..backends.host import usable_cores
from ..backends.target import Executable, Target
from ..ir import gir
from ..ir.op import Op, Tensor
from . import arrays, extents, gathers
from .arrays import address
from .calls import BoundCall, Form, Parameters, Shapes, bound
from .extents import Source
from .memory import Request, allocate
from .signature import Signature, signature_of
from .variants import Key, Variant, Variants

if TYPE_CHECKING:
    from .cache.shelf import Shelf
    from .cost.model import CostReport
    from .lower import LowerResult
    from .lower_options import LowerOptions

Array = np.ndarray[Any, np.dtype[Any]]
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
        self._parameters = Parameters(self.signature)
        self._forms: dict[Shapes, Form] = {}

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
        call, outputs, row, form = self._prepare(args, out, named)
        if self._clear:
            self._before(form, row)()
        elif form.checks:
            gathers.verify(form.checks, form.bindings, dict(zip(self._parameters.names, row, strict=False)))
        executable, buffers, symbols, threads = call
        executable(buffers, symbols, threads)
        return outputs if len(outputs) != 1 else outputs[0]

    def bind(self, /, *args: Any, out: Any = None, **named: Any) -> BoundCall:
        """A call with everything decided: run it as often as needed, it only computes.

        The arrays must stay as they are (no resize). Not to be run by two threads at once: outputs and temporaries
        are its own.
        """
        call, outputs, row, form = self._prepare(args, out, named)
        before = self._before(form, row) if self._clear or form.checks else None
        return BoundCall(bound(*call), outputs, (row, args, named), before)

    def _prepare(
        self, args: Sequence[Any], out: Any, named: Mapping[str, Any]
    ) -> tuple[tuple[Executable, list[int], list[int], int], tuple[Any, ...], list[Array], Form]:
        """The program and its arguments; the outputs as the caller sees them; the arrays: inputs, outputs, temporaries;
        what was decided."""
        parameters = self._parameters
        symbols: Mapping[str, Any] = {}
        if named or len(args) != len(parameters.inputs):
            args, symbols = parameters.assign(args, named)
        row = parameters.adopt(args)
        handed: tuple[Any, ...] = parameters.absent
        written: Sequence[Array | None] = parameters.absent
        if out is not None:
            handed = parameters.handed(out)
            written = parameters.adopt_outputs(handed)
        form = self._form(row, written, symbols)
        now = settings.current()
        places = [address(array) for array in row]
        results = []
        for k, array in enumerate(written):
            if array is None:
                array, place = allocate(form.outputs[k], now)
                results.append(array)
            else:
                place = address(array)
                results.append(handed[k])
            row.append(array)
            places.append(place)
        if out is not None:
            arrays.check_overlap(parameters.tensors, row, places, len(parameters.inputs))
        variant = self._variants.get(form.key)
        wiring = variant.wiring(parameters.names)
        for temporary in wiring.temporaries:
            shape = tuple(extents.evaluate(e, form.bindings) for e in temporary.shape)
            array, place = allocate(Request.of(temporary.name, shape, temporary.dtype.numpy), now)
            row.append(array)
            places.append(place)
        buffers = places if wiring.straight else [places[k] for k in wiring.order]
        values = [form.bindings[name] for name in wiring.symbols]
        threads = self.options.threads or now.threads or usable_cores()
        return (variant.executable, buffers, values, threads), tuple(results), row, form

    def _form(self, inputs: Sequence[Array], outputs: Sequence[Array | None], symbols: Mapping[str, Any]) -> Form:
        """What the shapes decide; remembered where nothing else does."""
        shapes: Shapes = tuple([None if a is None else a.shape for a in (*inputs, *outputs)])
        found = self._forms.get(shapes)
        if found is not None and not symbols:
            return found
        given = self._fixed | extents.check_bindings(self.signature, symbols, "the call")
        bindings = self._parameters.solve(inputs, outputs, given)
        tensors = self.signature.outputs
        form = Form(
            bindings,
            self._key(bindings),
            tuple(Request.of(t.name, extents.shape_of(t, bindings), t.dtype.numpy) for t in tensors),
            gathers.prepare(self._gathers, bindings, {t.name: t.dtype.numpy for t in self.signature.inputs}),
        )
        if not symbols:
            if len(self._forms) >= REMEMBERED:
                self._forms.clear()
            self._forms[shapes] = form
        return form

    def _before(self, form: Form, row: Sequence[Array]) -> Callable[[], None]:
        """What has to be done each time before the program runs. `row`: inputs, then outputs."""
        names = self._parameters.names
        if self._clear:
            written = row[len(self.signature.inputs) : len(names)]

            def clear() -> None:
                for array in written:
                    array.fill(0)

            return clear
        inputs = dict(zip(names, row, strict=False))
        return gathers.verifier(form.checks, form.bindings, inputs)

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


def _declaration(tensor: Tensor) -> str:
    shape = ", ".join(extents.text(e) for e in tensor.shape)
    return f"{tensor.name}: {tensor.dtype}[{shape}]"
