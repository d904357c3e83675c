"""The C file and the header of a program."""

from __future__ import annotations

from ...ir import gir
from ...ir.expr_text import print_expr
from ..c_counts import element_count
from ..c_expr import ExprPrinter, Scope
from ..c_family import print_function
from ..c_types import STORAGE
from ..c_unit import Function, Unit, is_written, make_function, parameter, signature
from ..machine import Machine
from ..target import Emitted

INCLUDES = """#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif"""

# GCC warns that vector arguments are passed differently where the machine has no such registers: ours are inlined.
PSABI = """#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif"""


def emit_c(program: gir.Program, machine: Machine, libm: bool = False) -> Emitted:
    """`name.c` and `name.h`. `libm`: exp, tanh ... of the C library instead of those of `mathlib.py`.

    Raises ScheduleError for a program that C cannot express."""
    unit = Unit(program, machine, libm)
    functions = [make_function(unit, k) for k in range(len(program.kernels))]
    kernels = [print_function(unit, f) for f in functions]
    entry = _entry(unit, functions)
    parts = [
        f"// {unit.name}: written by weft for a machine like {machine.name}; see {unit.name}.h for the interface.",
        INCLUDES,
        PSABI,
    ]
    helpers = unit.helpers.text().strip()
    if helpers:
        parts.append(
            "// ---- helpers\n\n#define WEFT_INLINE static inline __attribute__((always_inline))\n\n" + helpers
        )
    parts.append("// ---- kernels")
    parts += ["\n".join(lines) for lines in kernels]
    parts.append("// ---- interface")
    parts.append(entry)
    main, header = f"{unit.name}.c", f"{unit.name}.h"
    files = {main: "\n\n".join(parts) + "\n", header: _header(unit)}
    return Emitted(files=files, main=main, header=header, notes={"function": unit.name, "call": unit.suffixed("call")})


def public(unit: Unit, name: str, threads: bool, restrict: bool) -> str:
    tensors = [t for t in unit.program.tensors if t.role is not gir.Role.TEMP]
    parts = [parameter(unit, t, is_written(t), restrict) for t in tensors]
    parts += [f"int64_t {unit.c(s.name)}" for s in unit.program.symbols]
    parts += ["int threads"] if threads else []
    return signature("int", name, parts)


def call_signature(unit: Unit) -> str:
    return f"int {unit.suffixed('call')}(void *const *buffers, const int64_t *symbols, int threads)"


def _entry(unit: Unit, functions: list[Function]) -> str:
    program = unit.program
    run = unit.suffixed("run")
    tensors = [parameter(unit, t, is_written(t), True) for t in program.tensors]
    parameters = [*tensors, *(f"int64_t {unit.c(s.name)}" for s in program.symbols), "int threads"]
    lines = ["// All kernels, one after another.", signature("static int", run, parameters), "{"]
    passed = {x.name for f in functions for x in f.tensors} | {s for f in functions for s in f.symbols}
    given = [*(t.name for t in program.tensors), *(s.name for s in program.symbols)]
    lines += [f"    (void){unit.c(n)};" for n in given if n not in passed]
    lines += ["#ifdef _OPENMP", "    if (threads < 1)", "        threads = omp_get_max_threads();", "#else"]
    lines += ["    threads = 1;", "#endif"]
    lines += [] if any(f.parallel for f in functions) else ["    (void)threads;"]
    lines += ["    int error = 0;"]
    for f in functions:
        args = [unit.c(t.name) for t in f.tensors] + [unit.c(s) for s in f.symbols] + ["threads"] * f.parallel
        lines += ["    if (error == 0)", f"        error = {f.name}({', '.join(args)});"]
    lines += ["    return error;", "}", ""]
    lines += _public(unit, run)
    values = [f"({'' if is_written(t) else 'const '}{_c(t)} *)buffers[{k}]" for k, t in enumerate(program.tensors)]
    values += [f"symbols[{k}]" for k in range(len(program.symbols))] + ["threads"]
    lines += ["", call_signature(unit), "{"]
    lines += [] if program.tensors else ["    (void)buffers;"]
    lines += [] if program.symbols else ["    (void)symbols;"]
    lines += [f"    return {run}({', '.join(values)});", "}"]
    return "\n".join(lines)


def _c(t: gir.Tensor) -> str:
    return STORAGE[t.dtype]


def _public(unit: Unit, run: str) -> list[str]:
    program = unit.program
    temps = [t for t in program.tensors if t.role is gir.Role.TEMP]
    args = [unit.c(n) for n in [*(t.name for t in program.tensors), *(s.name for s in program.symbols)]]
    lines = [public(unit, unit.suffixed("threads"), True, True), "{"]
    if not temps:
        lines += [f"    return {run}({', '.join([*args, 'threads'])});", "}"]
    else:
        printer, scope = ExprPrinter(unit.helpers, 4), Scope(unit.symbols(), unit.bounded)
        unit.helpers.use("weft_allocate")
        for t in temps:
            count = element_count(t.shape, printer, scope)
            lines.append(f"    {_c(t)} *const {unit.c(t.name)} = weft_allocate({count}, {t.dtype.bytes});")
        got = " && ".join(f"{unit.c(t.name)} != NULL" for t in temps)
        lines.append(f"    const int error = {got} ? {run}({', '.join([*args, 'threads'])}) : 1;")
        lines += [f"    free({unit.c(t.name)});" for t in temps]
        lines += ["    return error;", "}"]
    given = [unit.c(t.name) for t in program.tensors if t.role is not gir.Role.TEMP]
    given += [unit.c(s.name) for s in program.symbols]
    lines += ["", public(unit, unit.name, False, True), "{"]
    return [*lines, f"    return {unit.suffixed('threads')}({', '.join([*given, '0'])});", "}"]


def _header(unit: Unit) -> str:
    program = unit.program
    guard = f"WEFT_{unit.name.upper()}_H"
    lines = [f"// {unit.name}: interface.", f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    for t in program.tensors:
        extents = ", ".join(print_expr(e) for e in t.shape)
        text = f"{t.role} {unit.c(t.name)}: {t.dtype}[{extents}]"
        lines.append("// " + "".join(c if " " <= c <= "~" else " " for c in text).rstrip("\\ "))
    lines += [
        "// Tensors are row-major and contiguous. No output may overlap another tensor; inputs may overlap each other."
    ]
    lines += [
        "// bf16 and f16 are passed as their 16 bits, bool as a byte of 0 or 1.",
        "// The result is 0, or 1 where memory ran out.",
    ]
    lines += [public(unit, unit.name, False, False) + ";", ""]
    lines += ["// The same with a number of threads (below 1: as many as OpenMP likes)."]
    lines += [public(unit, unit.suffixed("threads"), True, False) + ";", ""]
    lines += [
        "// The same with all tensors in the order above, temporaries included, and the symbols in the order of the"
    ]
    lines += ["// parameters."]
    lines += [call_signature(unit) + ";", "", "#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return "\n".join(lines) + "\n"
