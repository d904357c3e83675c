"""Versions: a program with open extents holds a few forms of itself, each for a class of extents.

    kernel k {                              kernel k {
      loop j in 0..N // 64 * 64 ...           when N % 16 == 0 and M * N >= 4194304 {
      loop j in N // 64 * 64..N ...    -->      ... made for large tensors whose rows begin at lines
    }                                         } else {
                                                ... made for any extents
                                              }
                                            }

What is fast depends on the extents: where rows begin decides streaming stores, whether tensors exceed the caches what
is kept or computed again, short rows want short tiles, few long rows have to be split between units, and what few rows
are multiplied with is not worth packing. A class is an op with further facts, on which the whole way from the planner
to the last pass relies, and with other assumed extents (`assumed.py`). The last version has no further facts, so that
every size is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import prod

from ..backends.machine import Machine
from ..ir.expr import Call, Expr, Fn, Var, as_int, const, variables
from ..ir.gir import Access, Branch, Kernel, Load, Move, Prefetch, Program, Role, Stmt, Store, Tensor
from ..ir.gir_tools import Body, map_statements
from ..ir.op import Op, Reduction, Symbol
from ..ir.op import Tensor as OpTensor
from .planner.facts import is_contraction
from .search.alternatives import FEW_RESULTS

LONG = 8192  # elements of a row that is worth splitting
SHORT = 128  # of a row that one register tile holds
THIN = 16  # rows of a product that are too few to pack the other operand for
FEATURES = 256  # elements of the rows of chained products
ASSUMED_LONG, ASSUMED_SHORT, ASSUMED_THIN, ASSUMED_FEATURES, ASSUMED_BATCH = 131072, 64, 4, 128, 8

Values = dict[str, int]


def versions(op: Op, machine: Machine) -> list[Op]:
    """The op with further facts and assumed extents, the most particular first and without further facts last."""
    products = sum(is_contraction(d) for d in op.definitions)
    size = _large_output(op, machine)
    lines = _whole_lines(op.outputs, machine)
    large = [([*lines, size], Values())] if size is not None else []
    found: list[tuple[list[Expr], Values]] = []
    usual = Values()
    if products > 1:
        lines = _whole_lines((*op.inputs, *op.outputs), machine)
        rows = _symbols(lines)
        usual = dict.fromkeys(rows, ASSUMED_FEATURES)
        features = [*lines, *(_at_most((Var(r),), FEATURES) for r in rows)]
        thin = _thin(op, rows)
        found += [([*thin[0], *features], {**thin[1], **usual})] if thin else []
        found += [(features, usual)]
    elif products:
        thin = _thin(op, [])
        found += [thin] if thin else []
        found += large
    else:
        few = _few_long_rows(op, machine)
        found += [few] if few else []
        rows = _symbols(lines)
        short = [_at_most((Var(r),), SHORT) for r in rows]
        if short:
            found += [([*short, *facts], dict.fromkeys(rows, ASSUMED_SHORT)) for facts in (*(f for f, _ in large), [])]
        found += large
    out = [_version(op, facts, values) for facts, values in found]
    return [*(v for v in out if v.facts != op.facts), _version(op, (), usual)]


def _whole_lines(tensors: Sequence[OpTensor], machine: Machine) -> list[Expr]:
    """All rows begin at lines."""
    facts: list[Expr] = []
    for tensor in tensors:
        if len(tensor.shape) > 1 and isinstance(tensor.shape[-1], Var):
            line = machine.line_bytes // tensor.dtype.bytes
            facts.append(Call(Fn.EQ, (Call(Fn.MOD, (tensor.shape[-1], const(line))), const(0))))
    return list(dict.fromkeys(facts))


def _symbols(facts: Sequence[Expr]) -> list[str]:
    return list(dict.fromkeys(v for f in facts for v in sorted(variables(f))))


def _large_output(op: Op, machine: Machine) -> Expr | None:
    """The largest output is too large for the caches."""
    sizes = [(*s, t.dtype.bytes) for t in op.outputs if (s := _size(t.shape)) is not None and s[1]]
    if not sizes:
        return None
    number, factors, size = max(sizes, key=lambda s: (len(s[1]), s[0]))
    return Call(Fn.GE, (_product(factors), const(-(-machine.l3_bytes // (2 * size * max(number, 1))))))


def _few_long_rows(op: Op, machine: Machine) -> tuple[list[Expr], Values] | None:
    """Fewer results than the units need, each of a long row."""
    for definition in op.definitions:
        body = definition.body
        if not isinstance(body, Reduction) or len(body.axes) != 1 or as_int(body.axes[0].lo) != 0:
            continue
        row, size = body.axes[0].hi, _size(tuple(a.hi for a in definition.axes))
        if not isinstance(row, Var) or size is None or row in size[1]:
            continue
        most = (FEW_RESULTS * machine.units - 1) // max(size[0], 1)
        if most < 1:
            continue
        facts: list[Expr] = [Call(Fn.GE, (row, const(LONG)))]
        facts += [_at_most(size[1], most)] if size[1] else []
        return facts, {row.name: ASSUMED_LONG} | {f.name: 1 for f in size[1]}
    return None


def _thin(op: Op, rows: Sequence[str]) -> tuple[list[Expr], Values] | None:
    """Products in which an operand is used for few results; what is no row and in no other place is a batch."""
    for definition in op.definitions:
        if not is_contraction(definition):
            continue
        extents = {a.name: a.hi for a in definition.axes}
        used = [{v for i in r.index for v in variables(i)} for r in definition.reads]
        operand = max(reversed(used), key=len)
        few = tuple(e for a, e in extents.items() if a not in operand and isinstance(e, Var) and e.name not in rows)
        if not few:
            continue
        shared = set(extents).intersection(*used)
        values = {e.name: ASSUMED_BATCH for a, e in extents.items() if a in shared and isinstance(e, Var)}
        values |= {f.name: 1 for f in few[1:]} | {few[0].name: ASSUMED_THIN}
        return [_at_most(few, THIN)], values
    return None


def _at_most(factors: Sequence[Var], most: int) -> Expr:
    return Call(Fn.LE, (_product(factors), const(most)))


def _product(factors: Sequence[Expr]) -> Expr:
    return reduce(lambda a, b: Call(Fn.MUL, (a, b)), factors)


def _size(shape: Sequence[Expr]) -> tuple[int, tuple[Var, ...]] | None:
    """A product of extents as a number and symbols; None where an extent is something else."""
    numbers = [n for e in shape if (n := as_int(e)) is not None]
    symbols = tuple(e for e in shape if isinstance(e, Var))
    return (prod(numbers), symbols) if len(numbers) + len(symbols) == len(shape) else None


def _version(op: Op, facts: Sequence[Expr], assumed: Values) -> Op:
    new = tuple(f for f in dict.fromkeys(facts) if f not in op.facts)

    def symbol(s: Symbol) -> Symbol:
        return replace(s, default=assumed.get(s.name)) if s.default is None else s

    return replace(op, facts=(*op.facts, *new), symbols=tuple(symbol(s) for s in op.symbols))


# -- one program of all --------------------------------------------------------------------------------------------


def merged(op: Op, parts: Sequence[tuple[Op, Program]]) -> Program:
    """One program of those of several versions, which ends in the one without further facts. Versions that came out
    the same are one."""
    (_, last), special = parts[-1], list(parts[:-1])
    tensors = {t.name: t for t in last.tensors}
    chosen: list[tuple[Expr, Program]] = []
    for version, program in special:
        facts = [f for f in version.facts if f not in op.facts]
        chosen.append((reduce(lambda a, b: Call(Fn.AND, (a, b)), facts), _beside(program, tensors)))
    while chosen and _bodies(chosen[-1][1]) == _bodies(last):
        chosen.pop()
    kernels: list[Kernel] = []
    for number in range(max(len(p.kernels) for p in (last, *(p for _, p in chosen)))):
        body = _body(last, number)
        for condition, program in reversed(chosen):
            own = _body(program, number)
            body = own if own == body else (Branch(condition, own, body, op.location),)
        name = last.kernels[number].name if number < len(last.kernels) else f"{op.name}_{number}"
        kernels.append(Kernel(name, body, op.location))
    return replace(last, symbols=op.symbols, facts=op.facts, tensors=tuple(tensors.values()), kernels=tuple(kernels))


def _bodies(program: Program) -> list[Body]:
    return [k.body for k in program.kernels]


def _body(program: Program, number: int) -> Body:
    return program.kernels[number].body if number < len(program.kernels) else ()


def _beside(program: Program, tensors: dict[str, Tensor]) -> Program:
    """The program with its temporaries among `tensors`: those of the same name and shape are shared."""
    names: dict[str, str] = {}
    for tensor in program.tensors:
        if tensor.role is not Role.TEMP:
            continue
        name, count = tensor.name, 0
        while name in tensors and tensors[name] != replace(tensor, name=name):
            count += 1
            name = f"{tensor.name}$v{count}"
        tensors[name] = replace(tensor, name=name)
        if name != tensor.name:
            names[tensor.name] = name
    if not names:
        return program

    def moved(a: Access) -> Access:
        return replace(a, buffer=names.get(a.buffer, a.buffer))

    def rule(stmt: Stmt) -> Body | None:
        match stmt:
            case Load() | Prefetch():
                return (replace(stmt, source=moved(stmt.source)),)
            case Store():
                return (replace(stmt, target=moved(stmt.target)),)
            case Move():
                return (replace(stmt, source=moved(stmt.source), target=moved(stmt.target)),)
        return None

    kernels = tuple(replace(k, body=map_statements(k.body, rule)) for k in program.kernels)
    return replace(program, kernels=kernels)
