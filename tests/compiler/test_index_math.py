"""Index arithmetic: what is simplified keeps its value, what is proved holds."""

from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.cost.footprint import evaluate
from weft.compiler.index_math import Env, linear, program_env
from weft.ir.expr import Call, Coord, Expr, Fn, Var, const, substitute
from weft.ir.gir import Loop, LoopKind, Program, Role, Tensor
from weft.ir.gir_parser import parse_program
from weft.ir.op import Symbol

N, I, J = Var("N"), Var("i"), Var("j")  # noqa: E741


def call(fn: Fn, *args: Expr) -> Call:
    return Call(fn, args)


def random_expr(rng: Random, depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([N, I, J, const(rng.randrange(-9, 20))])
    fn = rng.choice([Fn.ADD, Fn.SUB, Fn.MUL, Fn.FLOORDIV, Fn.MOD, Fn.MAX, Fn.MIN])
    left = random_expr(rng, depth - 1)
    scale = fn in (Fn.MUL, Fn.FLOORDIV, Fn.MOD)
    return call(fn, left, const(rng.choice([1, 2, 3, 4, 8, 16])) if scale else random_expr(rng, depth - 1))


def states(multiple: int) -> list[dict[str, float]]:
    """Every state of `for i in 0..N step 4: for j in i..N + 3` for some N."""
    out = []
    for n in range(0, 48, multiple):
        for i in range(0, n, 4):
            out += [{"N": n, "i": i, "j": j} for j in range(i, n + 3)]
    return [{k: float(v) for k, v in s.items()} for s in out]


def environment(multiple: int) -> Env:
    tensor = Tensor("x", parse_program(EMPTY).tensors[0].dtype, (N,), Role.INPUT)
    fact = call(Fn.EQ, call(Fn.MOD, N, const(multiple)), const(0))
    env = program_env(Program("p", (Symbol("N"),), (tensor,), (), (fact,)))
    env = env.inside(Loop("i", const(0), N, 4, LoopKind.SERIAL, ()))
    return env.inside(Loop("j", I, call(Fn.ADD, N, const(3)), 1, LoopKind.SERIAL, ()))


EMPTY = "program p(N) {\n  tensor x: f32[N] input\n  kernel k {\n  }\n}\n"
STATES = {m: states(m) for m in (1, 8, 16)}
ENVIRONMENTS = {m: environment(m) for m in (1, 8, 16)}


@given(st.integers(0, 10**9), st.sampled_from([1, 8, 16]))
@settings(max_examples=150, deadline=None)
def test_simplified_expressions_keep_their_value(seed: int, multiple: int) -> None:
    rng = Random(seed)
    expr = random_expr(rng, 3)
    simple = ENVIRONMENTS[multiple].simplify(expr)
    for state in rng.sample(STATES[multiple], 25):
        assert evaluate(simple, state) == evaluate(expr, state), (expr, simple, state)


@given(st.integers(0, 10**9), st.sampled_from([1, 8, 16]))
@settings(max_examples=150, deadline=None)
def test_proofs_hold(seed: int, multiple: int) -> None:
    rng = Random(seed)
    expr = call(Fn.ADD, random_expr(rng, 2), const(rng.randrange(40)))
    env = ENVIRONMENTS[multiple]
    proved = env.nonnegative(env.linear(expr)) and env.nonnegative(linear(expr))
    if proved:
        for state in STATES[multiple]:
            value = evaluate(expr, state)
            assert value is not None and value >= 0, (expr, state)


def test_what_guards_need() -> None:
    env = ENVIRONMENTS[16]
    rounded = call(Fn.MUL, call(Fn.FLOORDIV, call(Fn.ADD, N, const(15)), const(16)), const(16))
    assert env.simplify(rounded) == N
    plain = ENVIRONMENTS[1]
    whole = call(Fn.MUL, call(Fn.FLOORDIV, N, const(16)), const(16))
    assert plain.simplify(call(Fn.MAX, whole, const(0))) == whole
    assert plain.simplify(call(Fn.MIN, whole, N)) == whole
    assert plain.less(I, N) and plain.less_equal(I, J) and not plain.less(J, N)
    assert env.simplify(call(Fn.MOD, call(Fn.ADD, I, const(2)), const(4))) == const(2)


def test_tile_coordinates_are_in_their_box() -> None:
    env = Env().tile((4, 8))
    assert env.less(Coord(1), const(8)) and not env.less(Coord(0), const(3))
    assert not Env().less(Coord(0), const(100))


def test_forms_are_written_in_one_order() -> None:
    for a, b in product((I, J, N), repeat=2):
        assert linear(call(Fn.ADD, a, b)) == linear(call(Fn.ADD, b, a))
    assert linear(call(Fn.SUB, const(3), I)).to_expr() == call(Fn.SUB, const(3), I)
    assert substitute(linear(call(Fn.SUB, N, N)).to_expr(), {}) == const(0)
