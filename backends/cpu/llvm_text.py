"""LLVM IR as text: element types, values and a function builder.

Text rather than an object model, because an unrolled kernel has tens of thousands of instructions and building them
must cost microseconds each. Opaque pointers; numbers are written so that they parse back to the same bits.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

import numpy as np

from ...ir.dtypes import DType


class Elem(Enum):
    """LLVM's scalar types; the value is their name."""

    F64 = "double"
    F32 = "float"
    F16 = "half"
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    I1 = "i1"
    PTR = "ptr"

    @property
    def is_float(self) -> bool:
        return self in (Elem.F64, Elem.F32, Elem.F16)

    @property
    def bits(self) -> int:
        return _BITS[self]

    @property
    def suffix(self) -> str:
        """The name inside an intrinsic's mangling."""
        return f"f{self.bits}" if self.is_float else "p0" if self is Elem.PTR else f"i{self.bits}"


_BITS = {
    Elem.F64: 64,
    Elem.F32: 32,
    Elem.F16: 16,
    Elem.I64: 64,
    Elem.I32: 32,
    Elem.I16: 16,
    Elem.I8: 8,
    Elem.I1: 1,
    Elem.PTR: 64,
}

ARITHMETIC = {DType.F64: Elem.F64, DType.F32: Elem.F32, DType.I64: Elem.I64, DType.I32: Elem.I32, DType.BOOL: Elem.I1}

STORAGE = {
    DType.F64: Elem.F64,
    DType.F32: Elem.F32,
    DType.BF16: Elem.I16,
    DType.F16: Elem.F16,
    DType.I64: Elem.I64,
    DType.I32: Elem.I32,
    DType.I16: Elem.I16,
    DType.I8: Elem.I8,
    DType.U8: Elem.I8,
    DType.BOOL: Elem.I8,
}


def arithmetic_elem(dtype: DType) -> Elem:
    """The LLVM type a value of storage type `dtype` has inside an expression."""
    return ARITHMETIC[dtype.arithmetic]


@cache
def type_name(elem: Elem, lanes: int) -> str:
    return elem.value if lanes == 1 else f"<{lanes} x {elem.value}>"


@cache
def mangled(elem: Elem, lanes: int) -> str:
    return elem.suffix if lanes == 1 else f"v{lanes}{elem.suffix}"


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value or literal; one lane is a scalar. `constant` is set for scalar literals; a `weak` literal has not
    got its type from the program and takes that of what it meets."""

    text: str
    elem: Elem
    lanes: int = 1
    constant: int | float | None = None
    weak: bool = False

    @property
    def type(self) -> str:
        return type_name(self.elem, self.lanes)

    @property
    def typed(self) -> str:
        return f"{type_name(self.elem, self.lanes)} {self.text}"


def literal(value: int | float | bool, elem: Elem, weak: bool = False) -> Value:
    """A scalar literal, wrapped or rounded to `elem`."""
    if elem.is_float:
        x = float(value)
        if elem is Elem.F32:
            with np.errstate(over="ignore"):
                x = float(np.float32(x))
        if math.isnan(x):
            return Value("0x7FF8000000000000", elem, 1, x, weak)
        return Value(f"0x{struct.pack('>d', x).hex().upper()}", elem, 1, x, weak)
    if elem is Elem.I1:
        return Value("true" if value else "false", elem, 1, int(bool(value)), weak)
    n = int(value)
    n = ((n + (1 << (elem.bits - 1))) % (1 << elem.bits)) - (1 << (elem.bits - 1))
    return Value(str(n), elem, 1, n, weak)


def index(value: int) -> Value:
    return literal(value, Elem.I64)


def vector_literal(values: list[int], elem: Elem) -> Value:
    """A vector of integer literals."""
    inner = ", ".join(f"{elem.value} {v}" for v in values)
    return Value(f"<{inner}>", elem, len(values))


@dataclass
class Module:
    """What the functions of one module share: declarations, finished definitions, alias scopes."""

    declarations: dict[str, None] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    attributes: str = ""
    has_half: bool = True  # conversions between half and float are instructions

    def declare(self, line: str) -> None:
        self.declarations[line] = None

    def text(self, triple: str) -> str:
        parts = [f'target triple = "{triple}"', *self.declarations, *self.functions]
        parts.append(f"attributes #0 = {{ {self.attributes} }}")
        parts += ["!0 = !{i32 1}", '!1 = distinct !{!1, !"buffers"}']
        for k, name in enumerate(self.scopes):
            parts.append(f'!{10 + 3 * k} = distinct !{{!{10 + 3 * k}, !1, !"{k} {name}"}}')
        for k in range(len(self.scopes)):
            others = ", ".join(f"!{10 + 3 * j}" for j in range(len(self.scopes)) if j != k)
            parts.append(f"!{11 + 3 * k} = !{{!{10 + 3 * k}}}")
            parts.append(f"!{12 + 3 * k} = !{{{others}}}")
        return "\n".join(parts) + "\n"

    def scope(self, name: str) -> str:
        """Metadata of an access to a buffer that overlaps no other buffer (of which at least one is written)."""
        # "sram" is shared by every scratch buffer of the module.
        if name == "sram" and "sram" in self.scopes:
            k = self.scopes.index("sram")
            return f", !alias.scope !{11 + 3 * k}, !noalias !{12 + 3 * k}"
        safe = "".join(c if c.isalnum() or c in "_$" else "_" for c in name)
        self.scopes.append(safe)
        k = len(self.scopes) - 1
        return f", !alias.scope !{11 + 3 * k}, !noalias !{12 + 3 * k}"


class Code:
    """One function under construction."""

    def __init__(self, module: Module, name: str, parameters: list[Value]) -> None:
        self.module = module
        self.name = name
        self.parameters = parameters
        self.allocas: list[str] = []
        self.lines: list[str] = []
        self.counter = 0
        self.block = "start"
        self._splats: dict[tuple[str, Elem, int], Value] = {}

    def fresh(self) -> str:
        self.counter += 1
        return f"%v{self.counter}"

    def op(self, text: str, elem: Elem, lanes: int = 1) -> Value:
        """Emit an instruction with a result."""
        self.counter += 1
        name = f"%v{self.counter}"
        self.lines.append(f"  {name} = {text}")
        return Value(name, elem, lanes)

    def do(self, text: str) -> None:
        """Emit an instruction without a result."""
        self.lines.append(f"  {text}")

    def alloca(self, elem: Elem, lanes: int = 1, count: int = 1) -> Value:
        """A stack slot in the entry block, so that mem2reg sees it."""
        name = self.fresh()
        size = f", i64 {count}" if count != 1 else ""
        self.allocas.append(f"  {name} = alloca {type_name(elem, lanes)}{size}, align 64")
        return Value(name, Elem.PTR)

    def new_label(self, hint: str) -> str:
        self.counter += 1
        return f"{hint}{self.counter}"

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name
        self._splats.clear()

    def jump(self, target: str) -> None:
        self.do(f"br label %{target}")

    def branch(self, condition: Value, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition.text}, label %{then}, label %{otherwise}")

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar in every lane; a vector passes through."""
        if value.lanes == lanes:
            return value
        assert value.lanes == 1
        if value.constant is not None:
            return Value(f"splat ({value.typed})", value.elem, lanes)
        key = (value.text, value.elem, lanes)
        found = self._splats.get(key)
        if found is None:
            kind = type_name(value.elem, lanes)
            first = self.op(f"insertelement {kind} poison, {value.typed}, i64 0", value.elem, lanes)
            mask = f"<{lanes} x i32> zeroinitializer"
            found = self.op(f"shufflevector {first.typed}, {kind} poison, {mask}", value.elem, lanes)
            self._splats[key] = found
        return found

    def call(self, name: str, args: list[Value], elem: Elem, lanes: int = 1, flags: str = "") -> Value:
        """Call an intrinsic or library function, declaring it."""
        kinds = ", ".join(a.type for a in args)
        self.module.declare(f"declare {type_name(elem, lanes)} @{name}({kinds})")
        text = ", ".join(a.typed for a in args)
        return self.op(f"call {flags}{type_name(elem, lanes)} @{name}({text})", elem, lanes)

    def call_void(self, name: str, args: list[Value], suffix: str = "") -> None:
        kinds = ", ".join(a.type for a in args)
        self.module.declare(f"declare void @{name}({kinds})")
        self.do(f"call void @{name}({', '.join(a.typed for a in args)}){suffix}")

    def finish(self) -> None:
        """Close the function and hand it to the module."""
        params = ", ".join(p.typed for p in self.parameters)
        head = f"define void @{self.name}({params}) #0 {{\nstart:"
        self.lines.append("  ret void\n}")
        self.module.functions.append("\n".join([head, *self.allocas, *self.lines]))
