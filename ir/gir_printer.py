"""GIR as text (grammar: docs/gir.md). `parse_program(print_program(p)) == p` for every program that verifies."""

from __future__ import annotations

from collections.abc import Iterable

from .dtypes import DType
from .errors import InternalError
from .expr import Expr, as_int
from .expr_text import COMPARISON, print_expr
from .gir import (
    Access,
    Alloc,
    Branch,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    Move,
    Prefetch,
    Program,
    Reduce,
    Stmt,
    Store,
    Sync,
)

INDENT = "  "
Mutable = dict[str, tuple[tuple[int, ...], DType]]  # tiles allocated so far in scope: shape and dtype


def print_program(program: Program) -> str:
    """The whole program, ending in a newline."""
    symbols = [s.name if s.default is None else f"{s.name} = {s.default}" for s in program.symbols]
    head = f"program {program.name}({', '.join(symbols)})"
    if program.facts:
        head += f" where {', '.join(map(print_expr, program.facts))}"
    lines = [f"{head} {{"]
    for t in program.tensors:
        lines.append(f"{INDENT}tensor {t.name}: {t.dtype}[{_list(t.shape)}] {t.role}")
    for kernel in program.kernels:
        lines.extend(_kernel(kernel, INDENT))
    return "\n".join([*lines, "}"]) + "\n"


def print_kernel(kernel: Kernel) -> str:
    return "\n".join(_kernel(kernel, ""))


def print_stmt(stmt: Stmt) -> str:
    """One statement; of a loop or a branch just its head."""
    return _lines(stmt, "", {}, nested=False)[0]


def print_access(access: Access) -> str:
    return f"{access.buffer}[{_list(access.index)}]"


def _kernel(kernel: Kernel, indent: str) -> list[str]:
    return [f"{indent}kernel {kernel.name} {{", *_body(kernel.body, indent + INDENT, {}), f"{indent}}}"]


def _body(body: Iterable[Stmt], indent: str, outer: Mutable) -> list[str]:
    mutable = dict(outer)
    lines: list[str] = []
    for stmt in body:
        lines.extend(_lines(stmt, indent, mutable))
        if isinstance(stmt, Alloc) and stmt.level is Level.REG:
            extents = tuple(as_int(e) for e in stmt.shape)
            if None not in extents:
                mutable[stmt.name] = (tuple(e for e in extents if e is not None), stmt.dtype.arithmetic)
    return lines


def _lines(stmt: Stmt, indent: str, mutable: Mutable, nested: bool = True) -> list[str]:
    match stmt:
        case Alloc(name, dtype, shape, level):
            extents = [as_int(e) for e in shape]
            plain = level is Level.REG and all(e is not None and e >= 0 for e in extents)
            box = f"<{_list(shape)}>" if plain else f"[{_list(shape)}]"
            return [f"{indent}alloc {name}: {dtype}{box} {level}"]
        case Load(tile, shape, source, predicate, fill, pairs=pairs):
            what = " pairs" if pairs else ""
            return [f"{indent}{tile} = load{what}{_box(shape)} {print_access(source)}{_guard(predicate, fill)}"]
        case Compute(tile, shape, expr, dtype):
            typed = "" if mutable.get(tile) == (shape, dtype) else f": {dtype}{_box(shape)}"
            return [f"{indent}{tile}{typed} = {print_expr(expr)}"]
        case Reduce(tile, fn, source, axes):
            what = "scan" if stmt.running else "reduce"
            return [f"{indent}{tile} = {what} {fn} {source} over {', '.join(map(str, axes))}".rstrip()]
        case Store(target, shape, value, predicate, streaming):
            tail = _guard(predicate, None) + (" streaming" if streaming else "")
            return [f"{indent}store{_box(shape)} {print_access(target)} = {print_expr(value)}{tail}"]
        case Move(target, source, shape, predicate, fill):
            text = f"move<{', '.join(print_expr(e, COMPARISON + 1) for e in shape)}> "
            return [f"{indent}{text}{print_access(target)} = {print_access(source)}{_guard(predicate, fill)}"]
        case Prefetch(source, count):
            return [f"{indent}prefetch<{count}> {print_access(source)}"]
        case Sync(scope):
            return [f"{indent}sync {scope}"]
        case Loop(var, lo, hi, step, kind, body):
            by = "" if step == 1 else f" step {step}"
            head = f"{indent}{kind} {var} in {print_expr(lo)}..{print_expr(hi)}{by} {{"
            return [head, *_body(body, indent + INDENT, mutable), f"{indent}}}"] if nested else [f"{head} ... }}"]
        case Branch(condition, then, otherwise):
            head = f"{indent}when {print_expr(condition)} {{"
            if not nested:
                return [f"{head} ... }}"]
            lines = [head, *_body(then, indent + INDENT, mutable)]
            if otherwise:
                lines += [f"{indent}}} else {{", *_body(otherwise, indent + INDENT, mutable)]
            return [*lines, f"{indent}}}"]
    raise InternalError(f"no text for {type(stmt).__name__}")


def _list(exprs: Iterable[Expr]) -> str:
    return ", ".join(map(print_expr, exprs))


def _box(shape: tuple[int, ...]) -> str:
    return f"<{', '.join(map(str, shape))}>" if shape else ""


def _guard(predicate: Expr | None, fill: Expr | None) -> str:
    where = "" if predicate is None else f" where {print_expr(predicate)}"
    return where if fill is None else f"{where} else {print_expr(fill)}"
