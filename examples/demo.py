"""`make demo`: the example programs on this CPU, at realistic sizes.

Each program is compiled, checked (at a small size against the interpreter, at the large one against NumPy in float64),
and timed beside a plain loop that moves the same bytes, beside NumPy, and beside PyTorch where that is installed. The
C that Weft emits for it is written to demo-output/.

    python examples/demo.py [--out DIR] [--seconds S] [NAME ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import reference
import weft
from inputs import random_inputs
from rich.console import Console
from rich.table import Table
from weft.ir.op import Op
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))

from loops import Loops, aligned  # noqa: E402

TOLERANCE = 2e-4  # relative to the largest answer, f32 against float64


@dataclass(frozen=True)
class Program:
    """An operator of an example file; `extents` are realistic, `small` ones odd and few."""

    file: str
    name: str
    extents: dict[str, int]
    small: dict[str, int]

    @property
    def op(self) -> Op:
        path = HERE / self.file
        return next(op for op in parse_file(path.read_text(), str(path.name)) if op.name == self.name)


def _sizes(names: str, *values: int) -> dict[str, int]:
    return dict(zip(names.split(), values, strict=True))


_ATTENTION = _sizes("S T D E", 2048, 2048, 64, 64)
_FEW = _sizes("S T D E", 13, 13, 5, 3)
_GRID = _sizes("X Y Z", 7, 5, 11)
PROGRAMS = (
    Program("softmax.gir", "softmax", _sizes("M N", 4096, 4096), _sizes("M N", 7, 67)),
    Program("layernorm.gir", "layernorm", _sizes("M N", 8192, 4096), _sizes("M N", 7, 67)),
    Program("matmul.gir", "matmul", _sizes("M N K", 1024, 1024, 1024), _sizes("M N K", 13, 17, 11)),
    Program("matmul.gir", "matmul_bias_gelu", _sizes("M N K", 1024, 1024, 1024), _sizes("M N K", 13, 17, 11)),
    Program("attention.gir", "attention_plain", _ATTENTION, _FEW),
    Program("attention.gir", "attention", _ATTENTION, _FEW),
    Program("attention.gir", "attention_base2", _ATTENTION, _FEW),
    Program("attention.gir", "attention_causal", _ATTENTION, _FEW),
    Program(
        "conv2d.gir",
        "conv2d",
        _sizes("N C H W K R S U V P Q", 4, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1),
        _sizes("N C H W K R S U V P Q", 2, 3, 9, 7, 5, 3, 3, 2, 1, 1, 0),
    ),
    Program("stencil7.gir", "stencil7", _sizes("X Y Z", 256, 256, 256), _GRID),
    Program("gauss_seidel.gir", "gauss_seidel", _sizes("X Y Z", 128, 128, 128), _GRID),
    Program("decay.gir", "decay", _sizes("T D E", 4096, 64, 64), _sizes("T D E", 37, 3, 5)),
    Program(
        "block_sparse.gir",
        "block_sparse",
        _sizes("P L R C Q N", 64, 8, 32, 32, 64, 512),
        _sizes("P L R C Q N", 3, 4, 2, 3, 5, 7),
    ),
)


def torch_functions() -> dict[str, Callable[..., Any]]:
    """PyTorch's own operators, where PyTorch is installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch
    import torch.nn.functional as F

    torch.set_grad_enabled(False)

    def attention(q: Any, k: Any, v: Any, **more: Any) -> Any:
        return F.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None], **more)

    return {
        "softmax": lambda x: torch.softmax(x, -1),
        "layernorm": lambda x, g, b, eps: F.layer_norm(x, (x.shape[-1],), g, b, float(eps)),
        "matmul": torch.matmul,
        "matmul_bias_gelu": lambda a, b, bias: F.gelu(torch.addmm(bias, a, b)),
        "attention_plain": attention,
        "attention_causal": lambda q, k, v: attention(q, k, v, is_causal=True),
        "conv2d": lambda x, w, b: F.conv2d(x, w, b, padding=1),
    }


def best(call: Callable[[], object], seconds: float) -> float:
    """The fastest of the calls that fit into `seconds`, in milliseconds; at least one, after one that is not timed."""
    start = time.perf_counter()
    call()
    if time.perf_counter() - start > seconds:
        return (time.perf_counter() - start) * 1e3
    fastest, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest * 1e3


def error_of(got: Any, want: Any) -> float:
    """The largest difference relative to the largest answer."""
    got, want = (v if isinstance(v, tuple) else (v,) for v in (got, want))
    pairs = zip(got, want, strict=True)
    return max(float(np.abs(g - w).max() / max(float(np.abs(w).max()), 1e-30)) if w.size else 0.0 for g, w in pairs)


def parameters(op: Op, extents: dict[str, int]) -> dict[str, int]:
    return {s.name: extents[s.name] for s in op.symbols if s.default is not None and s.name in extents}


def check_small(program: Program) -> float:
    """Weft against the interpreter in float64, at a small and odd size."""
    op, extents = program.op, program.small
    inputs = random_inputs(op, extents)
    want = interpret(op, inputs, extents, float64=True)
    got = weft.compile(op, target="cpu", bind=extents)(**inputs)
    return error_of(got, tuple(want[t.name] for t in op.outputs))


def run(program: Program, out: Path, seconds: float, loops: Loops) -> list[str]:
    """One row of the table. Raises AssertionError where an answer is wrong."""
    op, extents = program.op, program.extents
    small = check_small(program)
    inputs = random_inputs(op, extents)
    start = time.perf_counter()
    kernel = weft.compile(op, target="cpu", bind=extents)
    call = kernel.bind(**inputs)
    compiled = time.perf_counter() - start
    numpy_call = getattr(reference, op.name)
    options = parameters(op, extents)
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs.values()]
    answer = kernel(**inputs)
    large = error_of(answer, numpy_call(*wide, **options))
    assert max(small, large) < TOLERANCE, f"{op.name}: errors {small:.1e} and {large:.1e} over {TOLERANCE:.0e}"

    answers = answer if isinstance(answer, tuple) else (answer,)
    read, written = sum(a.nbytes for a in inputs.values()), sum(a.nbytes for a in answers)
    source, target = aligned(max(read, 64)), aligned(max(written, 64))
    (out / f"{op.name}.c").write_text(weft.compile(op, target="c", bind=extents).source)
    times = [
        best(call, seconds),
        best(lambda: loops.move(source, target, read, written), seconds),
        best(lambda: numpy_call(*inputs.values(), **options), seconds),
    ]
    theirs = torch_functions().get(op.name)
    if theirs is not None:
        import torch

        tensors = [torch.from_numpy(a) for a in inputs.values()]
        times.append(best(lambda: theirs(*tensors), seconds))
    shown = [f"{ms:.2f}" for ms in times] + ["-"] * (4 - len(times))
    size = " ".join(f"{k}={v}" for k, v in extents.items())
    return [op.name, size, *shown, f"{max(small, large):.0e}", f"{compiled:.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compiles, checks and times the example programs on this CPU.")
    parser.add_argument("names", nargs="*", help="only these programs")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where the emitted C goes")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each measurement")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 150)
    threads = weft_threads()
    table = Table(title=f"times in milliseconds, f32, {threads} threads")
    for column in ("program", "extents", "weft", "same bytes", "NumPy", "PyTorch", "error", "compile s"):
        table.add_column(column, justify="left" if column in ("program", "extents") else "right")
    failures = 0
    with_status = console.status if console.is_terminal else None
    loops = Loops(threads, pin=False)  # threads made later would inherit the pin
    for program in PROGRAMS:
        if options.names and program.name not in options.names:
            continue
        try:
            if with_status:
                with with_status(f"{program.name} ..."):
                    row = run(program, options.out, options.seconds, loops)
            else:
                row = run(program, options.out, options.seconds, loops)
            table.add_row(*row)
        except (weft.WeftError, AssertionError) as error:
            failures += 1
            table.add_row(program.name, f"failed: {error}".splitlines()[0])
    console.print(table)
    console.print(f"error: against float64, relative to the largest answer. The emitted C is in {options.out}/.")
    return 1 if failures else 0


def weft_threads() -> int:
    from weft import settings
    from weft.backends.host import usable_cores

    return settings.current().threads or usable_cores()


if __name__ == "__main__":
    sys.exit(main())
