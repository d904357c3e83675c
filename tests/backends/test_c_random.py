"""Random programs through target `c`, against the interpreter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from c_programs import Maker, random_inputs
from c_running import compile_strictly, equal, run
from weft.backends.c.sanitize import run_sanitized
from weft.backends.target import get_target
from weft.ir.gir_interp import interpret

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
EXTENTS = (5, 17, 1, 40)


@pytest.mark.parametrize(
    ("seed", "exact", "shape", "machine"),
    [
        (1, True, (4, 16), None),
        (2, True, (3, 7), None),
        (3, False, (5, 32), None),
        (4, True, (70, 16), "simd128"),
        (5, False, (), None),
    ],
)
def test_random_programs(seed: int, exact: bool, shape: tuple[int, ...], machine: str | None) -> None:
    program = Maker(seed, exact, shape, steps=8).program()
    env = {"M": 3, "N": EXTENTS[seed % len(EXTENTS)]}
    inputs = random_inputs(program, env, seed)
    want = interpret(program, inputs, env, seed=seed)
    got = run(program, get_target("c", machine).load(program), inputs, env)
    for name, array in want.items():
        assert equal(got[name], array, exact), name


@pytest.mark.parametrize("seed", [11])
def test_random_programs_under_sanitizers(seed: int) -> None:
    program = Maker(seed, True, (2, 3, 8), steps=6).program()
    env = {"M": 2, "N": 7}
    inputs = random_inputs(program, env, seed)
    want = interpret(program, inputs, env)
    got = run_sanitized(program, inputs, get_target("c").machine, env)
    for name, array in want.items():
        assert equal(got[name], array, True), name


@pytest.mark.parametrize("flags", [("-O1",), ("-O1", "-march=native", "-fopenmp")])
def test_text_compiles_without_warnings(flags: tuple[str, ...], tmp_path: Path) -> None:
    compile_strictly(get_target("c").emit(Maker(21, False, (4, 16), steps=6).program()), tmp_path, *flags)


def test_same_text_every_time() -> None:
    texts = [get_target("c").emit(Maker(31, True).program()).files for _ in range(2)]
    assert texts[0] == texts[1]
