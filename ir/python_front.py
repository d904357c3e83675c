"""The op form in Python: `@op`, `@fn`, `@monoid`. The function's source is read with `ast`; it never runs.

    @op
    def shares(x: "f32[M, N]") -> "y: f32[M, N]":
        m[i] = max[j](x[i, j])
        e[i, j] = exp(x[i, j] - m[i])
        s[i] = sum[j](e[i, j])
        y[i, j] = e[i, j] / s[i]

The constructs are those of text (`python_expr.py` lists their spelling). Annotations of parameters are the inputs,
the annotation of the result the outputs, `name: type` separated by commas. Numbers that the function finds in its
surrounding scope are taken as literals, with the value they have when the decorator runs.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, overload

from .dtypes import DType
from .errors import Location, ParseError, UserError
from .expr import Const, Expr
from .lexer import Kind, TokenStream, attach_source
from .monoids import BUILTIN
from .op import Monoid, Op, Symbol, Tensor
from .op_build import build_op
from .op_names import check_name
from .op_syntax import FileParser, make_fn, make_monoid
from .python_expr import DTYPES, PythonExpr, elements
from .surface import FnCall, SurfaceAxis, SurfaceCompact, SurfaceDefinition, SurfaceFn, SurfaceOp


@dataclass(frozen=True)
class PythonFn:
    """A function usable inside ops, as `@fn` makes it."""

    surface: SurfaceFn

    def __call__(self, *args: object) -> object:
        raise UserError(
            f"`{self.surface.name}` is a function of the language, not of Python",
            self.surface.location,
            "call it inside an `@op` function",
        )


@dataclass(frozen=True)
class PythonMonoid:
    """A monoid usable inside ops, as `@monoid` makes it."""

    monoid: Monoid


@overload
def op(function: Callable[..., Any], /) -> Op: ...
@overload
def op(
    *, where: str | Sequence[str] = (), symbols: Mapping[str, int | None] | None = None
) -> Callable[[Callable[..., Any]], Op]: ...
def op(
    function: Callable[..., Any] | None = None,
    /,
    *,
    where: str | Sequence[str] = (),
    symbols: Mapping[str, int | None] | None = None,
) -> Op | Callable[[Callable[..., Any]], Op]:
    """The op that a Python function writes down.

    `where` gives facts about symbols (`"M % 16 == 0"`), `symbols` parameters and defaults of symbols. Raises ParseError
    or VerifyError with a place in the Python file.
    """
    if function is None:
        return lambda f: _Source(f).op(where, symbols or {})
    return _Source(function).op((), {})


def fn(function: Callable[..., Any]) -> PythonFn:
    """A closed scalar function: one `return` of an expression over its parameters and other functions."""
    return _Source(function).fn()


def monoid(
    identity: Mapping[str, int | float | bool], dtypes: Mapping[str, str] | None = None, ordered: bool = False
) -> Callable[[Callable[..., Any]], PythonMonoid]:
    """A monoid from its combine: `@monoid({"m": -inf, "s": 0.0}) def lse(a, b): return (..., ...)`.

    `identity` names the components and their neutral elements; `dtypes` fixes types of components; `ordered` says that
    the order of combining matters.
    """
    return lambda f: _Source(f).monoid(identity, dtypes or {}, ordered)


class _Source:
    """A function's syntax tree, and the places of its nodes in the Python file."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not isinstance(function, FunctionType):
            raise ParseError("not a Python function", remedy="decorate a `def`")
        self.scope: dict[str, object] = dict(function.__globals__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                self.scope[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        self.file = function.__code__.co_filename
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError) as error:
            place = Location(self.file)
            raise ParseError("the source of the function is not to be had", place, "define it in a file") from error
        source = "".join(lines)
        plain = textwrap.dedent(source)
        self.line = first - 1
        self.column = len(source.split("\n", 1)[0]) - len(plain.split("\n", 1)[0])
        found = [n for n in ast.parse(plain).body if isinstance(n, ast.FunctionDef)]
        if len(found) != 1:
            raise ParseError("not a plain function", Location(self.file, first, 1), "decorate a `def`")
        self.function = found[0]

    def place(self, node: ast.AST) -> Location:
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        return Location(self.file, line + self.line, column + self.column + 1) if line else Location(self.file)

    def located(self, error: UserError) -> UserError:
        attach_source(error, "".join(linecache.getlines(self.file)))
        return error

    def text(self, node: ast.expr) -> FileParser:
        """A parser of an annotation: a string, or an expression that reads as one."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            tokens = TokenStream(node.value, self.file)
            shift = 1
        else:
            tokens = TokenStream(ast.unparse(node), self.file)
            shift = 0
        here = self.place(node)
        tokens.tokens = [
            replace(t, location=Location(self.file, here.line, here.column + t.location.column - 1 + shift))
            for t in tokens.tokens
        ]
        tokens.text = ""
        return FileParser(tokens)

    # functions and monoids -----------------------------------------------------------------------------------------

    def result(self) -> ast.expr:
        body = [s for s in self.function.body if not _is_docstring(s)]
        if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
            raise ParseError("one `return` of an expression is needed", self.place(self.function), "remove the rest")
        return body[0].value

    def parameters(self) -> list[ast.arg]:
        a = self.function.args
        if a.posonlyargs or a.kwonlyargs or a.vararg or a.kwarg or a.defaults:
            raise ParseError("plain parameters are needed", self.place(self.function), "remove defaults and stars")
        return a.args

    def known_fns(self, used: Sequence[Expr]) -> dict[str, SurfaceFn]:
        """The functions in scope among those that are called."""
        out: dict[str, SurfaceFn] = {}
        stack = list(used)
        while stack:
            node = stack.pop()
            if isinstance(node, FnCall):
                found = self.scope.get(node.name)
                if isinstance(found, PythonFn):
                    out[node.name] = found.surface
            stack.extend(node.children)
        return out

    def fn(self) -> PythonFn:
        try:
            names = [a.arg for a in self.parameters()]
            for arg in self.parameters():
                check_name(arg.arg, self.place(arg), "a parameter")
            body = PythonExpr(self.place, lambda n: False, self.constants(set(names))).whole(self.result())
            surface = SurfaceFn(self.function.name, tuple(names), body, self.place(self.function))
            return PythonFn(make_fn(surface, self.known_fns([body])))
        except UserError as error:
            raise self.located(error) from None

    def monoid(
        self, identity: Mapping[str, int | float | bool], dtypes: Mapping[str, str], ordered: bool
    ) -> PythonMonoid:
        here = self.place(self.function)
        try:
            sides = tuple(a.arg for a in self.parameters())
            check_name(self.function.name, here, "a monoid")
            for name, dtype in dtypes.items():
                if dtype not in DTYPES or name not in identity:
                    raise ParseError(f"no component `{name}` of type `{dtype}`", here, f"types: {', '.join(DTYPES)}")
            front = PythonExpr(self.place, lambda n: False, self.constants(set(sides)), sides)
            combine = tuple(front.whole(e) for e in elements(self.result()))
            made = Monoid(
                self.function.name,
                tuple(identity),
                tuple(Const(v, DType.BOOL if isinstance(v, bool) else None) for v in identity.values()),
                combine,
                None,
                not ordered,
                tuple(DTYPES[dtypes[c]] if c in dtypes else None for c in identity),
                here,
            )
            return PythonMonoid(make_monoid(made, sides, self.known_fns(combine)))
        except UserError as error:
            raise self.located(error) from None

    # ops -----------------------------------------------------------------------------------------------------------

    def op(self, where: str | Sequence[str], symbols: Mapping[str, int | None]) -> Op:
        try:
            return self._op([where] if isinstance(where, str) else where, symbols)
        except UserError as error:
            raise self.located(error) from None

    def _op(self, where: Sequence[str], symbols: Mapping[str, int | None]) -> Op:
        f = self.function
        inputs = tuple(self.input(a) for a in self.parameters())
        if f.returns is None:
            raise ParseError("the outputs are not declared", self.place(f), 'annotate the result: `-> "y: f32[M, N]"`')
        outputs = tuple(self.outputs(f.returns))
        facts = []
        for fact in where:
            parser = FileParser(TokenStream(fact, self.file))
            facts.append(parser.expr())
            parser.end()
        statements = [s for s in f.body if not _is_docstring(s) and not isinstance(s, ast.Pass)]
        names = _names(f) | set(symbols)
        front = PythonExpr(self.place, self.is_monoid, self.constants(names | {t.name for t in outputs}))
        definitions = tuple(self.definition(s, front) for s in statements)
        monoids = {n: m.monoid for n, m in self.scope.items() if isinstance(m, PythonMonoid)}
        used = [e for d in definitions for e in _exprs(d)]
        surface = SurfaceOp(
            f.name,
            tuple(Symbol(n, default, self.place(f)) for n, default in symbols.items()),
            inputs,
            outputs,
            definitions,
            tuple(facts),
            (),
            self.place(f),
        )
        return build_op(surface, self.known_fns(used), monoids)

    def is_monoid(self, name: str) -> bool:
        return name in BUILTIN or isinstance(self.scope.get(name), PythonMonoid)

    def constants(self, bound: set[str]) -> Callable[[str], int | float | None]:
        """Numbers in scope under names that the function does not bind itself."""

        def value(name: str) -> int | float | None:
            found = self.scope.get(name)
            number = isinstance(found, int | float) and not isinstance(found, bool)
            return found if number and name not in bound else None  # type: ignore[return-value]

        return value

    def input(self, arg: ast.arg) -> Tensor:
        if arg.annotation is None:
            raise ParseError(f"the type of `{arg.arg}` is missing", self.place(arg), 'annotate it: `x: "f32[M, N]"`')
        parser = self.text(arg.annotation)
        dtype, shape = parser.type()
        parser.end()
        return Tensor(arg.arg, dtype, shape, self.place(arg))

    def outputs(self, node: ast.expr) -> list[Tensor]:
        parser = self.text(node)
        out = [parser.tensor()]
        while parser.tokens.accept(","):
            out.append(parser.tensor())
        parser.end()
        return out

    def definition(self, statement: ast.stmt, front: PythonExpr) -> SurfaceDefinition:
        here = self.place(statement)
        dtypes: tuple[DType, ...] = ()
        match statement:
            case ast.Assign(targets=[target], value=value):
                pass
            case ast.AnnAssign(target=target, annotation=annotation, value=ast.expr() as value):
                parser = self.text(annotation)
                listed = [parser.dtype()]
                while parser.tokens.accept(","):
                    listed.append(parser.dtype())
                parser.end()
                dtypes = tuple(listed)
            case _:
                raise ParseError("not a definition", here, "an op holds lines like `y[i, j] = ...`")
        names, index = self.targets(target)
        if len(dtypes) not in (0, 1, len(names)):
            raise ParseError(f"{len(dtypes)} types for {len(names)} targets", here)
        axes: list[SurfaceAxis] = []
        for element in index:
            axis = front.axis(element)
            if axis is None or axis.lo is not None:
                raise ParseError(
                    "a free axis is a name", self.place(element), "write `y[i, j] = ...` or `y[i: N] = ...`"
                )
            axes.append(axis)
        return SurfaceDefinition(names, tuple(axes), front.body(value), dtypes, here)

    def targets(self, node: ast.expr) -> tuple[tuple[str, ...], list[ast.expr]]:
        match node:
            case ast.Name(id=name):
                return (name,), []
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                return (name,), elements(index)
            case ast.Tuple(elts=elts) if all(isinstance(e, ast.Name) for e in elts):
                return tuple(e.id for e in elts if isinstance(e, ast.Name)), []
            case ast.Subscript(value=ast.Tuple(elts=elts), slice=index) if all(isinstance(e, ast.Name) for e in elts):
                return tuple(e.id for e in elts if isinstance(e, ast.Name)), elements(index)
        raise ParseError("not a target", self.place(node), "write `y[i, j] = ...` or `(a, b)[i] = ...`")


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _exprs(d: SurfaceDefinition) -> list[Expr]:
    body = d.body
    if isinstance(body, Expr):
        return [body]
    return [body.guard] if isinstance(body, SurfaceCompact) else [body.key]


def _names(function: ast.FunctionDef) -> set[str]:
    """Every name the function binds: parameters, targets, axes (names in brackets), symbols of annotations."""
    out = {a.arg for a in function.args.args}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            out.add(node.id)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            out |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
            for e in elements(node.func.slice):
                axis = e.lower if isinstance(e, ast.Slice) else e
                out |= {axis.id} if isinstance(axis, ast.Name) else set()
    annotations = [a.annotation for a in function.args.args] + [function.returns]
    for annotation in annotations:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                tokens = TokenStream(annotation.value).tokens
            except ParseError:
                continue
            out |= {t.text for t in tokens if t.kind is Kind.NAME}
        elif annotation is not None:
            out |= {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}
    return out


__all__ = ["PythonFn", "PythonMonoid", "fn", "monoid", "op"]
