"""A program as one LLVM module: a function for each kernel and the entry that calls them in order."""

from __future__ import annotations

from ...ir import gir
from .context import Buffer, Context, Options, Team
from .interface import ENTRY, SLOT_BYTES
from .llvm_text import Code, Elem, Module, Value
from .parallel import provide_scratch
from .statements import buffer_strides, statement


def generate(program: gir.Program, options: Options, triple: str, attributes: str) -> str:
    """LLVM IR of `program`. The entry is `void weft_entry(ptr buffers, ptr symbols, ptr runtime, i64 threads,
    ptr slots)`: addresses in the order of `program.tensors`, i64 values in the order of `program.symbols`, the table
    of the thread run-time, and two scratch arenas of the calling thread."""
    module = Module(attributes=attributes, has_half=options.features.has_half)
    scopes = {t.name: module.scope(t.name) for t in program.tensors}
    parameters = [
        Value("%buffers", Elem.PTR),
        Value("%symbols", Elem.PTR),
        Value("%runtime", Elem.PTR),
        Value("%threads", Elem.I64),
        Value("%slots", Elem.PTR),
    ]
    names = []
    for number, kernel in enumerate(program.kernels):
        safe = "".join(c if c.isalnum() else "_" for c in kernel.name)
        names.append(f"weft_k{number}_{safe}")
        _kernel(program, kernel, names[-1], parameters, module, options, scopes)
    entry = Code(module, ENTRY, parameters)
    args = ", ".join(p.typed for p in parameters)
    for name in names:
        entry.do(f"call void @{name}({args})")
    entry.finish()
    return module.text(triple)


def _kernel(
    program: gir.Program,
    kernel: gir.Kernel,
    name: str,
    parameters: list[Value],
    module: Module,
    options: Options,
    scopes: dict[str, str],
) -> None:
    code = Code(module, name, parameters)
    ctx = Context(code, options)
    buffers, symbols, runtime, threads, slots = parameters
    for k, symbol in enumerate(program.symbols):
        place = code.op(f"getelementptr i64, {symbols.typed}, i64 {k}", Elem.PTR)
        ctx.names[symbol.name] = code.op(f"load i64, {place.typed}", Elem.I64)
    used = {n for s in gir.walk(kernel.body) for n in _buffers(s)}
    for k, tensor in enumerate(program.tensors):
        if tensor.name in used:
            place = code.op(f"getelementptr ptr, {buffers.typed}, i64 {k}", Elem.PTR)
            pointer = code.op(f"load ptr, {place.typed}", Elem.PTR)
            strides = buffer_strides(ctx, tensor.shape)
            scope = scopes[tensor.name]
            ctx.names[tensor.name] = Buffer(tensor.name, tensor.dtype, tensor.shape, pointer, strides, scope)
    ctx.team = Team(runtime, threads, slots)
    own = code.op(f"getelementptr i8, {slots.typed}, i64 {SLOT_BYTES}", Elem.PTR)
    provide_scratch(ctx, kernel.body, own)
    for stmt in kernel.body:
        statement(stmt, ctx)
    if ctx.streams and options.x86:
        code.call_void("llvm.x86.sse.sfence", [])
    code.finish()


def _buffers(stmt: gir.Stmt) -> tuple[str, ...]:
    match stmt:
        case gir.Load(source=source) | gir.Prefetch(source=source):
            return (source.buffer,)
        case gir.Store(target=target):
            return (target.buffer,)
        case gir.Move(target=target, source=source):
            return (target.buffer, source.buffer)
    return ()
