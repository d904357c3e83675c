"""`weft run FILE.gir --input x=x.npy --output y=y.npy [--check] [--random]`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...ir.dtypes import DType
from ...ir.errors import CallError, UserError
from ...ir.op import Op, Tensor
from ..agreement import TOLERANCE, largest_error, random_inputs
from ..kernel import Kernel
from . import common

Array = np.ndarray[Any, np.dtype[Any]]


@click.command("run")
@common.program_options
@common.cache_option
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE", help="An array (.npy) or, for rank 0, a number.")
@click.option("--output", "outputs", multiple=True, metavar="NAME=FILE", help="Where to write an output (.npy).")
@click.option("--random", "random", is_flag=True, help="Fill inputs that are not given with random numbers.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers.")
@click.option("--check", is_flag=True, help="Compare with the float64 interpreter and print the largest error.")
@click.option("--threads", type=click.IntRange(1, 4096), help="Threads of the call.")
def command(
    file: Path,
    entry: str | None,
    bind: tuple[str, ...],
    target: str | None,
    machine: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    random: bool,
    seed: int,
    check: bool,
    threads: int | None,
    cache: bool,
) -> None:
    """Run the operator in FILE on arrays from files."""
    from ..driver import compile

    values = common.bindings(bind)
    sources = common.pairs(inputs, "--input")
    sinks = common.pairs(outputs, "--output")
    with common.progress(f"compiling {file.name}"):
        kernel = compile(file, target, bind=values, threads=threads, entry=entry, machine=machine, cache=cache)
    signature = kernel.signature
    _known(sources, signature.inputs, "input")
    _known(sinks, signature.outputs, "output")
    arrays: dict[str, Any] = {t.name: read_array(sources[t.name], t) for t in signature.inputs if t.name in sources}
    if random:
        arrays = random_inputs(kernel.program, arrays, values, seed)
    with common.progress(f"running {kernel.name}"):
        result = kernel(**arrays)
    results = dict(zip([t.name for t in signature.outputs], _tuple(result), strict=True))
    for name, path in sinks.items():
        with common.written_whole(path) as temporary, temporary.open("wb") as handle:
            np.save(handle, storable(results[name]), allow_pickle=False)
    for tensor in signature.outputs:
        shape = ", ".join(map(str, results[tensor.name].shape))
        click.echo(f"{tensor.name}: {tensor.dtype}[{shape}]")
    if check:
        _check(kernel, arrays, values, results)


def read_array(path: Path, tensor: Tensor) -> Any:
    """An array from a `.npy` file, or the number that `path` spells for a rank-0 tensor. Raises UserError."""
    if not tensor.shape and not path.exists():
        try:
            return float(str(path)) if tensor.dtype.is_float else int(str(path))
        except ValueError:
            raise UserError(f"input '{tensor.name}': '{path}' is neither a file nor a number") from None
    try:
        with path.open("rb") as handle:
            array = np.load(handle, allow_pickle=False)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, SyntaxError) as error:
        raise UserError(f"{path} is not an array file (.npy): {str(error).splitlines()[0]}") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} is an archive of arrays", remedy="one .npy file per input")
    if tensor.dtype is DType.BF16 and array.dtype in (np.dtype("V2"), np.dtype(np.uint16)):
        array = array.view(DType.BF16.numpy)  # .npy has no name for bf16
    return array


def storable(array: Any) -> Array:
    """An array as `.npy` can hold it: bf16 as its 16 bits, which `read_array` understands."""
    plain = np.asarray(array)
    return plain.view(np.uint16) if plain.dtype == DType.BF16.numpy else plain


def _check(kernel: Kernel, arrays: Mapping[str, Any], bind: Mapping[str, int], results: Mapping[str, Array]) -> None:
    """Raises UserError where a result differs by more than its tolerance."""
    if not isinstance(kernel.program, Op):
        raise UserError("--check compares with index notation; this program was scheduled by hand")
    from ...ir.op_interp import interpret

    with common.progress("checking with the interpreter"):
        given = {n: np.asarray(a) for n, a in arrays.items()}
        expected = interpret(kernel.program, given, dict(bind), float64=True)
    wrong: list[str] = []
    for tensor in kernel.signature.outputs:
        error = largest_error(results[tensor.name], expected[tensor.name], tensor.dtype)
        allowed = TOLERANCE.get(tensor.dtype, 0.0)
        click.echo(f"{tensor.name}: largest error {error:.3g} (allowed {allowed:.3g})")
        if not error <= allowed:
            wrong.append(tensor.name)
    if wrong:
        raise CallError(f"results differ from the interpreter: {', '.join(wrong)}", remedy="report this program")


def _known(given: Mapping[str, Path], tensors: tuple[Tensor, ...], what: str) -> None:
    names = [t.name for t in tensors]
    for name in given:
        if name not in names:
            raise CallError(f"the operator has no {what} '{name}'", remedy=", ".join(names))


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)
