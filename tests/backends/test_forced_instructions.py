"""Code for AVX-512, AVX2, SSE4.2, SSE2 and NEON, forced: its answers, and that it holds nothing of a higher set."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import weft
from forced import LISTED, MOVING, OPS, above, inputs_of
from weft.backends import host
from weft.backends.cpu.jit import assembly
from weft.backends.isa import INSTRUCTION_SETS
from weft.backends.machine import load_machine
from weft.backends.target import Executable, get_target
from weft.compiler.driver import lower_op
from weft.compiler.lower_options import LowerOptions
from weft.ir import gir
from weft.ir.errors import TargetError
from weft.ir.gir_interp import interpret as run_gir
from weft.ir.gir_parser import parse_program
from weft.ir.op import Op
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op

X86 = ["avx512", "avx2", "simd128", "sse2"]
HERE = [name for name in X86 if host.runs_here(INSTRUCTION_SETS[name])]
TOLERANCE = {"float64": 1e-9, "float32": 4e-6, "bfloat16": 8e-3, "float16": 1e-3}


def op_of(name: str) -> tuple[Op, dict[str, int]]:
    text, extents = OPS[name]
    return parse_op(text), extents


def scheduled(name: str, machine: str) -> gir.Program:
    op, extents = op_of(name)
    return lower_op(op, extents, get_target("cpu", machine), LowerOptions(search=False)).program


def agrees(got: Any, want: Any) -> bool:
    if got.dtype.kind in "iub":
        return bool(np.array_equal(got, want))
    scale = max(1.0, float(np.abs(want).max()))
    return bool(np.abs(got.astype(np.float64) - want).max() <= TOLERANCE[got.dtype.name] * scale)


def check(kernel: weft.Kernel, name: str) -> None:
    op, extents = op_of(name)
    inputs = inputs_of(op.inputs, extents)
    want = interpret(op, inputs, extents, float64=True)
    got = kernel(**inputs)
    for tensor, array in zip(op.outputs, got if isinstance(got, tuple) else (got,), strict=True):
        assert agrees(array, want[tensor.name]), tensor.name


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("isa", HERE)
def test_answers(isa: str, name: str) -> None:
    text, extents = OPS[name]
    check(weft.compile(text, f"cpu:{isa}", bind=extents, search=False), name)


def moved(program: gir.Program, run: Executable) -> None:
    rng = np.random.default_rng(1)
    x, z = rng.standard_normal((32, 32)).astype(np.float32), rng.standard_normal(117).astype(np.float32)
    arrays = {"x": x, "z": z, "y": np.zeros_like(x), "t": np.zeros_like(x), "w": np.zeros_like(z)}
    run([arrays[t.name].ctypes.data for t in program.tensors], [z.size], 2)
    for name, array in run_gir(program, {"x": x, "z": z}, {"N": z.size}).items():
        np.testing.assert_allclose(arrays[name], array, rtol=2e-6)


@pytest.mark.parametrize("isa", HERE)
def test_streaming_prefetching_masks_and_moves(isa: str) -> None:
    program = parse_program(MOVING)
    moved(program, get_target(f"cpu:{isa}").load(program))


def listing(isa: str, programs: list[gir.Program]) -> str:
    """The machine code of target cpu; nothing is run."""
    target = get_target(f"cpu:{isa}")
    return "\n".join(assembly(target.ir(p), target.processor) for p in programs)  # type: ignore[attr-defined]


@pytest.mark.skipif(not host.is_x86(), reason="LLVM may know this machine's architecture alone")
@pytest.mark.parametrize("isa", X86)
def test_no_instruction_of_a_higher_set(isa: str) -> None:
    code = listing(isa, [*(scheduled(n, isa) for n in LISTED), parse_program(MOVING)])
    assert above(isa, code) == []
    assert {"avx512": "zmm", "avx2": "ymm"}.get(isa, "xmm") in code
    assert bool(re.search(r"\bvfmadd", code)) == INSTRUCTION_SETS[isa].has_fma
    assert re.search(r"\bv?movntp[sd]\b", code) and "prefetcht1" in code
    assert ("vcvtph2ps" in code) == INSTRUCTION_SETS[isa].has_half
    if isa == "avx512":
        assert re.search(r"\{%k[1-7]\}", code)  # tails by masks


def test_the_rule_sees_what_is_above() -> None:
    lines = "\tvmovups\t%zmm1, %zmm2\n\tvaddps\t%ymm0, %ymm1, %ymm2\n\tpshufb\t%xmm1, %xmm2\n\taddps\t%xmm1, %xmm2\n"
    assert [len(above(isa, lines)) for isa in X86] == [0, 1, 2, 3]


# ---- target c: the same sets by -march


@pytest.mark.skipif(shutil.which("cc") is None or not host.is_x86(), reason="needs a C compiler for x86")
@pytest.mark.parametrize("isa", [name for name in HERE if name != "simd128"])
def test_target_c(isa: str, tmp_path: Path) -> None:
    target: Any = get_target("c", isa)
    program = parse_program(MOVING)
    code = target.build(program)
    moved(program, target.revive(code, program))
    assert target.identity() != get_target("c").identity()  # type: ignore[attr-defined]
    if shutil.which("objdump"):
        (tmp_path / "x.so").write_bytes(code.partition(b"\n")[2])
        command = ["objdump", "-d", "--no-show-raw-insn", "x.so"]
        done = subprocess.run(command, cwd=tmp_path, check=True, timeout=60, capture_output=True, text=True)
        assert above(isa, done.stdout) == [] and "xmm" in done.stdout


# ---- another architecture: scheduled and compiled, not run


def arm(programs: list[gir.Program]) -> str:
    try:
        return listing("neon", programs)
    except RuntimeError as error:
        pytest.skip(f"this LLVM does not know AArch64: {error}")


def loop_around(code: str, wanted: str) -> list[str]:
    """The lines of the innermost loop that holds the first line with `wanted`: from its label to the branch back."""
    lines = code.splitlines()
    at = next(k for k, line in enumerate(lines) if re.search(wanted, line))
    for end in range(at, len(lines)):
        back = re.match(r"\s+(?:b\.\w+|b|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+(\.L\w+)", lines[end])
        if back:
            starts = [k for k in range(at) if lines[k].startswith(f"{back[1]}:")]
            if starts:
                return lines[starts[-1] : end + 1]
    return []


def test_neon_has_vector_bodies() -> None:
    code = arm([scheduled("contraction", "neon")])
    body = loop_around(code, r"\bfmla\t")
    assert sum(bool(re.search(r"\bfmla\tv\d+\.4s", line)) for line in body) >= 8
    assert [line for line in body if re.search(r"\bf(?:madd|mul|add)\ts\d", line)] == []
    code = arm([scheduled("functions", "neon"), parse_program(MOVING)])
    assert re.search(r"\bfmla\tv\d+\.4s", code) and re.search(r"\bstnp\t", code) and "prfm" in code
    assert not re.search(r"\bz\d+\.|\bp\d/[mz]", code)  # no SVE


def test_neon_everything_compiles_and_does_not_run() -> None:
    for name in ("reductions", "halves", "gathered"):
        assert "ret" in arm([scheduled(name, "neon")])
    if host.architecture() != "aarch64":
        for target, machine in (("cpu:neon", None), ("cpu", "neon"), ("c", "neon")):
            with pytest.raises(TargetError, match="code for neon does not run here"):
                get_target(target, machine).load(parse_program(MOVING))


def test_what_runs_elsewhere_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the kernel cache as well, which builds before it loads; and LLVM must not be asked for a library."""
    other = "neon" if host.is_x86() else "avx2"
    monkeypatch.setenv("WEFT_CACHE", "1")
    kernel = weft.compile(OPS["halves"][0], f"cpu:{other}", bind=OPS["halves"][1])
    arch = INSTRUCTION_SETS[other].architecture
    assert f'target triple = "{arch}-unknown-linux-gnu"' in kernel.source
    with pytest.raises(TargetError, match=f"code for {other} does not run here"):
        kernel(**inputs_of(op_of("halves")[0].inputs, OPS["halves"][1]))
    kernel.save(tmp_path / "all")  # what cannot be made is left out
    assert "f.ll" in {p.name for p in (tmp_path / "all").iterdir()}
    with pytest.raises(TargetError, match="cannot be linked here"):
        kernel.save(tmp_path / "library", ["library"])


def test_what_this_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_features", lambda: frozenset({"sse2"}))
    if host.is_x86():
        with pytest.raises(TargetError, match="code for avx2 does not run here: this processor lacks some of it"):
            get_target("cpu:avx2").load(parse_program(MOVING))
        get_target("cpu:sse2").load(parse_program(MOVING))


def test_tiles_are_as_wide_as_the_machine() -> None:
    """A description says how wide vectors are: the plan's tiles and the registers in the code follow."""
    for name in ("avx512", "avx2", "neon"):
        lanes = load_machine(name).lanes(4)
        widths = [
            s.shape[-1] for s in gir.walk(scheduled("contraction", name).kernels[0].body) if isinstance(s, gir.Load)
        ]
        assert max(widths) % lanes == 0 and max(widths) >= lanes
