"""Names of programs as C identifiers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from c_running import compile_strictly
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.backends.c.emit import INCLUDES
from weft.backends.c_names import Names, is_reserved
from weft.backends.target import get_target
from weft.ir.dtypes import DType
from weft.ir.expr import Call, Coord, Fn, Ref, Var
from weft.ir.gir import Access, Compute, Kernel, Load, Loop, LoopKind, Program, Role, Store, Tensor
from weft.ir.op import Symbol

AWKWARD = re.findall(
    r"\S+",
    """int main x x_ x__ _x _ $ a$1 a_1 a$_1 restrict bool true lane threads scratch own NULL INFINITY expf f32x16
    M_PI c0 f32x16_load weft_lanes size_t int64_t omp_get_max_threads I linux unix asm typeof memcpy malloc y0 log exp
    index x_int x_2 int_ x_at gathered stored total free error buffers symbols fuzz_run main_run weft __m512 é 名 a-b
    1a""",
)


@given(st.lists(st.sampled_from(AWKWARD) | st.text(min_size=1, max_size=5), unique=True, max_size=40))
@settings(max_examples=300, deadline=None)
def test_injective_and_free(names: list[str]) -> None:
    table = Names()
    given_names = [table.get(n, n) for n in names]
    assert len(set(given_names)) == len(names)
    for name in given_names:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        assert not is_reserved(name)
    assert given_names == [table.get(n, n) for n in names]


def test_plain_names_keep_their_spelling() -> None:
    assert [Names().get(n, n) for n in ("x", "row_max", "M", "KV", "headDim")] == ["x", "row_max", "M", "KV", "headDim"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_no_macro_of_the_headers_is_a_free_name() -> None:
    done = subprocess.run(
        ["cc", "-std=c11", "-D_GNU_SOURCE", "-march=native", "-fopenmp", "-dM", "-E", "-"],
        input=INCLUDES,
        capture_output=True,
        text=True,
        check=True,
    )
    macros = re.findall(r"^#define ([A-Za-z]\w*)", done.stdout, re.MULTILINE)
    assert [m for m in macros if not is_reserved(m)] == []


def _program(name: str, x: str, y: str, n: str, i: str, tile: str, other: str) -> Program:
    body = (
        Load(tile, (16,), Access(x, (Var(i), Coord(0))), Call(Fn.LT, (Coord(0), Var(n))), Ref(tile) and None),
        Compute(other, (16,), Call(Fn.EXP, (Ref(tile),)), DType.F32),
        Store(Access(y, (Var(i), Coord(0))), (16,), Ref(other), Call(Fn.LT, (Coord(0), Var(n)))),
    )
    loop = Loop(i, Call(Fn.SUB, (Var(n), Var(n))), Var(n), 1, LoopKind.UNIT, body)
    tensors = (Tensor(x, DType.F32, (Var(n), Var(n)), Role.INPUT), Tensor(y, DType.F32, (Var(n), Var(n)), Role.OUTPUT))
    return Program(name, (Symbol(n),), tensors, (Kernel(name, (loop,)),))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("first", [0, 7, 14, 21, 28, 35, 42, 49])
def test_awkward_names_compile(first: int, tmp_path: Path) -> None:
    names = [AWKWARD[(first + k) % len(AWKWARD)] for k in range(7)]
    compile_strictly(get_target("c").emit(_program(*names)), tmp_path, "-O0")
