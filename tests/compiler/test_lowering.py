"""Lowering: every plan the search may meet computes the same, and the famous kernels fall out of the rules."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from weft.backends.machine import load_machine
from weft.backends.target import get_target
from weft.compiler.axes import unify_axes
from weft.compiler.lower import LowerOptions, lower, rewrite_op, write_out
from weft.compiler.passes.wavefront import skew_recurrence
from weft.compiler.planner import Choices, make_plan
from weft.compiler.planner.groups import shared_passes
from weft.compiler.search.alternatives import alternatives
from weft.compiler.search.best_first import Candidate, search
from weft.compiler.search.neighbours import neighbours
from weft.ir.binding import specialise
from weft.ir.expr import Var, as_int
from weft.ir.gir import Role
from weft.ir.gir_interp import interpret as run_gir
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.op import Op
from weft.ir.op_interp import interpret as run_op
from weft.ir.op_text import parse_file, parse_op

ROOT = Path(__file__).parents[2]
MACHINE = load_machine("avx512")

PROGRAMS = {
    "softmax": """op softmax(x: f32[M, N]) -> (y: f32[M, N]) {
      m[i] = max[j] x[i, j]
      e[i, j] = exp(x[i, j] - m[i])
      s[i] = sum[j] e[i, j]
      y[i, j] = e[i, j] / s[i]
    }""",
    "columns": "op columns(x: f32[M, N]) -> (y: f32[N]) { y[j] = sum[i] x[i, j] }",
    "epilogue": """op epilogue(a: f32[M, K], b: f32[K, N], c: f32[N]) -> (y: f32[M, N]) {
      y[i, j] = max((sum[k] a[i, k] * b[k, j]) + c[j], 0.0)
    }""",
    "weights": """op weights(q: f32[M, K], k: f32[N, K], v: f32[N, E]) -> (y: f32[M, E]) {
      s[i, j] = sum[d] q[i, d] * k[j, d]
      m[i] = max[j where j <= i] s[i, j]
      p[i, j] = exp(s[i, j] - m[i])
      l[i] = sum[j where j <= i] p[i, j]
      o[i, e] = sum[j where j <= i] p[i, j] * v[j, e]
      y[i, e] = o[i, e] / l[i]
    }""",
    "decay": """op decay(a: f32[M], k: f32[M, K], v: f32[M, E]) -> (y: f32[M, E]) {
      h[t, d, e] = 0.9 * h.pad(0.0)[t - 1, d, e] + k[t, d] * v[t, e]
      y[t, e] = sum[d] a[t] * h[t, d, e]
    }""",
    "sweep": """op sweep(f: f32[M, N]) -> (w: f32[M, N]) {
      v[x, y] = (f[x, y] + v.pad(0.0)[x - 1, y] + v.pad(0.0)[x, y - 1]) * 0.3
      w[x, y] = (v[x, y] + w.pad(0.0)[x + 1, y] + w.pad(0.0)[x, y + 1]) * 0.3
    }""",
    "argmax": "op argmax_rows(x: f32[M, N]) -> (y: i64[M]) { y[i] = argmax[j] x[i, j] }",
    "lists": """op lists(x: f32[M, N], w: f32[N, E]) -> (y: f32[M, E]) {
      (list, count)[i] = compact[j where x[i, j] > 0.0]
      y[i, e] = sum[b in 0..count[i]] x.clamp[i, list[i, b]] * w.clamp[list[i, b], e]
    }""",
    "diagonal": """op diagonal(x: f32[M, N]) -> (y: f32[3, N]) {
      t[i: 3, j: 3] = exp(x.pad(0.5)[i, j])
      s[i: 3, k: N] = max[u: M] x.pad(0.0)[u, k] + x.pad(0.0)[k, i]
      y[i: 3, k: N] = s[i, k] / (1.0 + t[i, i])
    }""",
    "order": "op order(x: f32[M, N]) -> (p: i64[M, N]) { p[i] = argsort[j] x[i, j] }",
}


def inputs_of(op: Op, extents: dict[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {t.name: [extents[e.name] if isinstance(e, Var) else as_int(e) or 0 for e in t.shape] for t in op.inputs}
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}


def check(op: Op, extents: dict[str, int], choices: Choices, symbolic: bool, number: int = 0) -> None:
    bound = op if symbolic else specialise(op, extents)
    found = list(alternatives(bound, MACHINE))
    chosen = found[number % len(found)]
    result = write_out(chosen.op, MACHINE, choices)
    verify(result.program)
    inputs = inputs_of(op, extents)
    got = run_gir(result.program, inputs, extents if symbolic else {})
    for name, want in run_op(op, inputs, extents, float64=True).items():
        np.testing.assert_allclose(got[name], want, rtol=2e-4, atol=2e-5, err_msg=f"{name} {choices}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_default_plans(name: str) -> None:
    op = parse_op(PROGRAMS[name])
    for size in (0, 1, 7, 17):
        extents = {s.name: size + k for k, s in enumerate(op.symbols)} if size else {s.name: 0 for s in op.symbols}
        if name in ("weights", "lists") and not size:
            continue  # a clamp into nothing
        for symbolic in (False, True):
            check(op, extents, Choices(), symbolic)


@pytest.mark.parametrize("name", PROGRAMS)
def test_random_plans(name: str) -> None:
    """Walks over the search's own neighbours. Failure 28: reductions fused with elementwise work; the op itself, not
    fused, says what is right."""
    op = parse_op(PROGRAMS[name])
    rng = random.Random(name)
    extents = {s.name: rng.choice((3, 7, 17, 21)) for s in op.symbols}
    bound = specialise(op, extents)
    for number in range(3):
        found = list(alternatives(bound, MACHINE))
        chosen = found[number % len(found)]
        choices = Choices()
        for _ in range(rng.randrange(1, 4)):
            plan = make_plan(chosen.op, MACHINE, choices)
            choices = rng.choice(list(neighbours(Candidate("", choices, plan, chosen.op, 0.0, 0.0, ""))))
        check(op, extents, choices, symbolic=False, number=number)


@pytest.mark.parametrize("name", PROGRAMS)
def test_failure_3_odd_tiles(name: str) -> None:
    """Failure 3: sizes that nothing divides, and that the search would not try, crash nothing."""
    op = parse_op(PROGRAMS[name])
    rng = random.Random(f"odd {name}")
    extents = {s.name: rng.choice((1, 5, 11, 23)) for s in op.symbols}
    for number in range(2):
        odd = Choices(
            vectors=rng.choice((3, 5, 7)),
            rows=rng.choice((1, 3, 5, 11)),
            stream=rng.choice((1, 7, 33)),
            chunk=rng.choice((1, 17, 100)),
            root_rows=rng.choice((0, 1, 5, 13)),
        )
        check(op, extents, odd, symbolic=False, number=number)


def test_weighted_sum_is_one_kernel_without_a_square_buffer() -> None:
    """Scores, running maximum, weights and weighted sum share one pass; dram moves inputs and outputs once."""
    for op in parse_file((ROOT / "examples" / "attention.gir").read_text()):
        extents = {s.name: s.default or {"S": 4096, "T": 4096}.get(s.name, 64) for s in op.symbols}
        result = lower(specialise(op, extents), MACHINE, LowerOptions(nodes=16))
        assert len(result.program.kernels) == 1, op.name
        assert not [t for t in result.program.tensors if t.role is Role.TEMP], op.name
        assert result.cost.dram_bytes <= 1.1 * result.cost.compulsory_bytes, op.name


def test_search_is_deterministic_and_compares() -> None:
    op = specialise(parse_op(PROGRAMS["softmax"]), {"M": 512, "N": 512})
    first, second = (search(op, MACHINE, {}, 24) for _ in range(2))
    assert [(c.alternative, c.choices, c.seconds) for c in first.candidates] == [
        (c.alternative, c.choices, c.seconds) for c in second.candidates
    ]
    assert len({c.plan for c in first.candidates}) >= 10
    assert all(c.seconds >= first.lower_bound * 0.99 for c in first.candidates)


def test_long_rows_are_split_over_units() -> None:
    op = specialise(parse_op("op total(x: f32[N]) -> (y: f32) { y = sum[i] x[i] }"), {"N": 1 << 24})
    result = lower(op, MACHINE, LowerOptions())
    assert len(result.program.kernels) == 2  # partial sums, then their merge


def test_streams_over_long_rows_are_split_over_units() -> None:
    """Few queries and many keys. Found by `make fuzz`: the weights had been named before the stream was split."""
    extents = {"M": 1, "N": 20000, "K": 3, "E": 5}
    op = specialise(parse_op(PROGRAMS["weights"].replace("j <= i", "j != i")), extents)
    result = lower(op, MACHINE, LowerOptions())
    assert "split" in {c.alternative for c in result.report.candidates}
    split = next(a.op for a in alternatives(op, MACHINE) if a.label == "split")
    inputs = inputs_of(op, {})
    want = run_op(op, inputs, {})["y"]
    np.testing.assert_allclose(run_op(split, inputs, {})["y"], want, rtol=2e-4, atol=2e-5)
    program = write_out(split, MACHINE, Choices()).program
    arrays = {t.name: inputs.get(t.name, np.empty([as_int(e) or 0 for e in t.shape], "f4")) for t in program.tensors}
    get_target("cpu").load(program)([a.ctypes.data for a in arrays.values()], [], 2)
    np.testing.assert_allclose(arrays["y"], want, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("sign", "+-")
def test_chains_go_on_where_a_tile_begins(sign: str) -> None:
    """Found by `make fuzz`: the value carried in a register began anew in every tile that follows another one."""
    text = f"""op sweep(x: f32[M, N]) -> (w: f32[M, N]) {{
      w[i, j] = (x[i, j] + w.pad(0.0)[i {sign} 1, j] + w.pad(0.0)[i, j {sign} 1]) * 0.25
    }}"""
    op = specialise(parse_op(text), {"M": 7, "N": 31})
    program = write_out(rewrite_op(skew_recurrence(op, "w")), MACHINE, Choices(lanes=(("w$wave", ""),))).program
    assert "turn" in print_program(program)
    inputs = inputs_of(op, {})
    np.testing.assert_allclose(run_gir(program, inputs)["w"], run_op(op, inputs, {})["w"], rtol=1e-5, atol=1e-6)


def test_rows_of_a_tile_that_are_all_the_same_count_each() -> None:
    """Found by `make fuzz`: what did not vary along the rows of a tile was added once, and its guard was lost."""
    op = parse_op("op f(x: f32[M, N]) -> (y: f32[M]) { y[i] = sum[u: N, v: 3 where u != i] x[i, u] }")
    choices = Choices(lanes=(("y", "u"),), tiles=(("y", "v", 3),))
    for extents in ({"M": 5, "N": 19}, {}):
        program = write_out(rewrite_op(specialise(op, extents)), MACHINE, choices).program
        inputs = inputs_of(op, {"M": 5, "N": 19})
        want = run_op(op, inputs, {})["y"]
        np.testing.assert_allclose(run_gir(program, inputs)["y"], want, rtol=1e-5, atol=1e-6)


def test_what_stands_between_is_whole_before_a_pass_begins() -> None:
    """Found by `make fuzz`: the mean was read in the pass along the columns and computed after it, because it is itself
    no reduction but a quotient of one."""
    op = parse_op("""op f(x: f32[M, N], z: f32[N, N]) -> (y: f32[M, N]) {
      t[i, j] = exp(x[i, j])
      s[i] = sum[j] t[i, j]
      a[i] = s[i] / f32(N)
      c[i, j] = t[i, j] - a[i]
      y[i, k] = sum[j] c[i, j] * z[j, k]
    }""")
    for group in shared_passes(unify_axes(op), [d.name for d in op.definitions]):
        assert "t" not in group.members or "c" not in group.members
    program = write_out(unify_axes(op), MACHINE, Choices()).program
    inputs = inputs_of(op, {"M": 5, "N": 19})
    want = run_op(op, inputs, {})["y"]
    np.testing.assert_allclose(run_gir(program, inputs)["y"], want, rtol=2e-4, atol=2e-5)


def test_blocks_of_an_axis_that_ends_with_another_one() -> None:
    """Found by `make fuzz`: the loop over blocks stood outside of the one that its end depends on."""
    op = parse_op("""op f(x: f32[N, K], z: f32[N]) -> (y: f32[N, K]) {
      y[i, j] = sum[u in 0..i + 1] z[u] * x[u, j]
    }""")
    inputs = inputs_of(op, {"N": 31, "K": 31})
    program = write_out(rewrite_op(op), MACHINE, Choices(block=8)).program
    verify(program)
    np.testing.assert_allclose(run_gir(program, inputs)["y"], run_op(op, inputs, {})["y"], rtol=2e-4, atol=2e-5)


def test_copies_of_states_that_are_too_large_for_scratch() -> None:
    """Found by `make fuzz`: they were scratch, without the room that register tiles need behind the last element."""
    text = """op f(x: f32[M, N, K], v: f32[K]) -> (o: f32[M, N]) {
      m[i, j] = max[k] x[i, j, k]
      l[i, j] = sum[k] exp(x[i, j, k] - m[i, j])
      o[i, j] = (sum[k] exp(x[i, j, k] - m[i, j]) * v[k]) / l[i, j]
    }"""
    small = replace(MACHINE, sram_bytes=16384)
    op = parse_op(text)
    extents = {"M": 61, "N": 70, "K": 3}
    for bound in (op, specialise(op, extents)):
        for choices in (Choices(stream=96), Choices(stream=48, parallel=(("i", 61), ("j", 70)))):
            program = write_out(rewrite_op(bound), small, choices).program
            verify(program, small.sram_bytes)
            inputs = inputs_of(op, extents)
            got = run_gir(program, inputs, {s.name: extents[s.name] for s in program.symbols})
            np.testing.assert_allclose(got["o"], run_op(op, inputs, {})["o"], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["softmax", "weights", "epilogue", "columns"])
def test_candidates_of_the_search_agree(name: str) -> None:
    """Failure 14: no wrong plan hides among good ones. Several tiles per pass, compiled."""
    op = specialise(parse_op(PROGRAMS[name]), {"M": 70, "N": 201, "K": 19, "E": 33})
    report = search(op, MACHINE, {}, 48)
    inputs = inputs_of(op, {})
    want = run_op(op, inputs, {}, float64=True)
    target = get_target("cpu")
    for candidate in report.candidates[:: max(1, len(report.candidates) // 10)]:
        result = write_out(candidate.op, MACHINE, candidate.choices, candidate.plan)
        arrays = {
            t.name: inputs.get(t.name, np.full([as_int(e) or 0 for e in t.shape], np.nan, t.dtype.numpy))
            for t in result.program.tensors
        }
        target.load(result.program)([a.ctypes.data for a in arrays.values()], [], 2)
        for key, value in want.items():
            np.testing.assert_allclose(arrays[key], value, rtol=2e-4, atol=2e-5, err_msg=str(candidate.choices))


def test_a_finished_reduction_is_not_part_of_a_pass_without_repairs() -> None:
    """The maximum that weights depend on must be whole before they are summed, unless a stream repairs them."""
    op = unify_axes(parse_op(PROGRAMS["weights"]))
    passes = shared_passes(op, [d.name for d in op.definitions])
    assert passes
    assert all("m" not in p.members for p in passes)


def verified(text: str, symbols: dict[str, int], choices: Choices) -> None:
    result = write_out(rewrite_op(specialise(parse_op(text), symbols)), MACHINE, choices)
    assert [u for u in verify(result.program) if not u.startswith("coverage")] == []


@pytest.mark.parametrize("lanes", ["i", "j"])
@pytest.mark.parametrize(("vectors", "rows"), [(1, 14), (4, 6), (2, 9)])
def test_register_tiles_that_do_not_divide_a_parallel_tile_end_with_the_axis(
    vectors: int, rows: int, lanes: str
) -> None:
    choices = Choices(lanes=(("y", lanes),), vectors=vectors, rows=rows)
    for m in (70, 42, 14):
        verified(PROGRAMS["epilogue"], {"M": m, "N": 201, "K": 19}, choices)


def test_scratch_read_along_another_axis_is_not_read_past_its_end() -> None:
    text = """op f(x: f32[N]) -> (y: f32) {
      t[i: N]: f32 = 0.25 * t.pad(0.5)[i - 1] + x[i]
      y = sum[v in min(1, N)..N where x[v] > 0.25] t[v]
    }"""
    verified(text, {"N": 5}, Choices())
    verified(text, {}, Choices())


def test_permutations_run_along_what_they_read() -> None:
    op = parse_op("op t(x: f32[B, M, N]) -> (y: f32[B, N, M]) { y[b, j, i] = x[b, i, j] }")
    op = specialise(op, {"B": 4, "M": 2048, "N": 4096})
    text = print_program(lower(op, MACHINE, LowerOptions(search=False)).program)
    assert text.index("unit b") < text.index("unit i_t") < text.index("loop j")
    assert "streaming" in text
