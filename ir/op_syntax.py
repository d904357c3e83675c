"""The parser of the op form's text (grammar: docs/language.md). It gives `surface.py`'s nodes and binds no name."""

from __future__ import annotations

from dataclasses import replace

from .dtypes import DType
from .errors import VerifyError
from .expr import Expr, Param, Var, rewrite
from .expr_text import TERM, ExprParser, is_reserved
from .inline import inline_calls
from .lexer import Kind, Token, TokenStream
from .monoids import BUILTIN
from .op import Component, Monoid, Stream, Symbol, Tensor
from .surface import (
    FnCall,
    ReduceExpr,
    SurfaceAxis,
    SurfaceCompact,
    SurfaceDefinition,
    SurfaceFile,
    SurfaceFn,
    SurfaceOp,
    SurfaceSort,
)

DTYPES = {d.value: d for d in DType}


def parse_surface(text: str, filename: str = "") -> SurfaceFile:
    """A whole file. Raises ParseError."""
    return FileParser(TokenStream(text, filename)).file()


class _OpExprParser(ExprParser):
    """Bare names are variables, names of monoids before a bracket start reductions; literals have no type yet."""

    int_dtype = None
    float_dtype = None

    def __init__(self, tokens: TokenStream, monoids: dict[str, Monoid]) -> None:
        super().__init__(tokens)
        self.monoids = monoids

    def name(self, token: Token) -> Expr:
        return Var(token.text, token.location)

    def call(self, token: Token, args: tuple[Expr, ...]) -> Expr:
        return FnCall(token.text, args, token.location)

    def special(self, token: Token) -> Expr | None:
        if token.text not in BUILTIN and token.text not in self.monoids:
            return None
        ahead = [self.tokens.peek(k).text for k in range(4)]
        accumulate = None
        if ahead[0] == "<" and ahead[1] in DTYPES and ahead[2:] == [">", "["]:
            accumulate = DTYPES[ahead[1]]
            for _ in range(3):
                self.tokens.next()
        elif ahead[0] != "[":
            if ahead[0] == "(" and is_reserved(token.text):
                return None
            self.tokens.error(f"the monoid `{token.text}` needs an axis", token, f"write `{token.text}[j] ...`")
        return self.reduction(token, accumulate)

    def reduction(self, token: Token, accumulate: DType | None) -> Expr:
        self.tokens.expect("[")
        axes = [self.axis()]
        while self.tokens.accept(","):
            axes.append(self.axis())
        guard = self.expr() if self.tokens.accept("where") else None
        self.tokens.expect("]", "axes are `j`, `j: N` or `j in lo..hi`")
        return ReduceExpr(token.text, tuple(axes), self.summand(), guard, accumulate, token.location)

    def summand(self) -> tuple[Expr, ...]:
        """A term, or a tuple of expressions."""
        if self.tokens.accept("("):
            out = [self.expr()]
            while self.tokens.accept(","):
                out.append(self.expr())
            self.tokens.expect(")")
            return tuple(out) if len(out) > 1 else (self.expr(TERM, out[0]),)
        return (self.expr(TERM),)

    def axis(self) -> SurfaceAxis:
        token = self.tokens.expect_name("an axis")
        if self.tokens.accept(":"):
            return SurfaceAxis(token.text, None, self.expr(), token.location)
        if self.tokens.accept("in"):
            lo = self.expr()
            self.tokens.expect("..", "a range is `lo..hi`")
            return SurfaceAxis(token.text, lo, self.expr(), token.location)
        return SurfaceAxis(token.text, None, None, token.location)


class FileParser:
    """A parser of a whole file, and of the pieces that another front end takes from it."""

    def __init__(self, tokens: TokenStream) -> None:
        self.tokens = tokens
        self.monoids: dict[str, Monoid] = {}
        self.fns: dict[str, SurfaceFn] = {}
        self.exprs = _OpExprParser(self.tokens, self.monoids)

    def expr(self) -> Expr:
        return self.exprs.parse()

    def file(self) -> SurfaceFile:
        ops: list[SurfaceOp] = []
        while not self.tokens.at_kind(Kind.END):
            token = self.tokens.next()
            if token.text == "fn":
                self.fn()
            elif token.text == "monoid":
                self.monoid()
            elif token.text == "op":
                ops.append(self.op())
                if sum(o.name == ops[-1].name for o in ops) > 1:
                    self.tokens.error(f"two ops are called `{ops[-1].name}`", token)
            else:
                self.tokens.error(f"expected `op`, `fn` or `monoid`, found {token.shown}", token)
        return SurfaceFile(self.fns, self.monoids, tuple(ops))

    def new_name(self, what: str) -> Token:
        token = self.tokens.expect_name(what)
        if is_reserved(token.text) or token.text in BUILTIN:
            self.tokens.error(f"`{token.text}` cannot name {what}: it is a reserved word", token, "use another name")
        if what in ("a function", "a monoid") and (token.text in self.fns or token.text in self.monoids):
            self.tokens.error(f"`{token.text}` is already defined", token, "use another name")
        return token

    def names(self, what: str) -> list[Token]:
        out = [self.new_name(what)]
        while self.tokens.accept(","):
            out.append(self.new_name(what))
        if len({t.text for t in out}) != len(out):
            self.tokens.error(f"{what} is named twice", out[0])
        return out

    def fn(self) -> None:
        name = self.new_name("a function")
        self.tokens.expect("(")
        parameters = [] if self.tokens.at(")") else self.names("a parameter")
        self.tokens.expect(")")
        self.tokens.expect("=")
        self.fns[name.text] = make_fn(
            SurfaceFn(name.text, tuple(p.text for p in parameters), self.expr(), name.location), self.fns
        )

    def monoid(self) -> None:
        name = self.new_name("a monoid")
        self.tokens.expect("(")
        components: list[str] = []
        dtypes: list[DType | None] = []
        while True:
            components.append(self.new_name("a component").text)
            dtypes.append(self.dtype() if self.tokens.accept(":") else None)
            if not self.tokens.accept(","):
                break
        self.tokens.expect(")")
        ordered = self.tokens.accept("ordered") is not None
        self.tokens.expect("{")
        self.tokens.expect("identity")
        identity = self.values()
        self.tokens.expect("combine")
        self.tokens.expect("(")
        sides = [t.text for t in self.names("a side")]
        self.tokens.expect(")")
        self.tokens.expect("=")
        combine = self.values()
        self.tokens.expect("}")
        made = Monoid(
            name.text, tuple(components), identity, combine, None, not ordered, tuple(dtypes), name.location
        )  # fmt: skip
        self.monoids[name.text] = make_monoid(made, tuple(sides), self.fns)

    def values(self) -> tuple[Expr, ...]:
        self.tokens.expect("(")
        out = [self.expr()]
        while self.tokens.accept(","):
            out.append(self.expr())
        self.tokens.expect(")")
        return tuple(out)

    def dtype(self) -> DType:
        token = self.tokens.expect_name("an element type", f"one of {' '.join(DTYPES)}")
        if token.text not in DTYPES:
            self.tokens.error(f"`{token.text}` is not an element type", token, f"one of {' '.join(DTYPES)}")
        return DTYPES[token.text]

    def op(self) -> SurfaceOp:
        name = self.new_name("an op")
        symbols: list[Symbol] = []
        if self.tokens.accept("<"):
            while not self.tokens.at(">"):
                token = self.new_name("a symbol")
                default = None
                if self.tokens.accept("="):
                    sign = -1 if self.tokens.accept("-") else 1
                    default = sign * self.tokens.expect_int()
                symbols.append(Symbol(token.text, default, token.location))
                if not self.tokens.accept(","):
                    break
            self.tokens.expect(">")
        inputs = self.tensors()
        self.tokens.expect("->", "an op is `op name(inputs) -> (outputs) { ... }`")
        outputs = self.tensors()
        facts: list[Expr] = []
        if self.tokens.accept("where"):
            facts.append(self.expr())
            while self.tokens.accept(","):
                facts.append(self.expr())
        self.tokens.expect("{")
        definitions: list[SurfaceDefinition] = []
        streams: list[Stream] = []
        while not self.tokens.at("}"):
            if self.tokens.at("stream") and self.tokens.peek(1).text == "[":
                streams.append(self.stream())
            else:
                definitions.append(self.definition())
            self.tokens.accept(";")
        self.tokens.expect("}")
        return SurfaceOp(
            name.text,
            tuple(symbols),
            tuple(inputs),
            tuple(outputs),
            tuple(definitions),
            tuple(facts),
            tuple(streams),
            name.location,
        )

    def tensors(self) -> list[Tensor]:
        self.tokens.expect("(")
        out = []
        while not self.tokens.at(")"):
            out.append(self.tensor())
            if not self.tokens.accept(","):
                break
        self.tokens.expect(")")
        return out

    def tensor(self) -> Tensor:
        token = self.new_name("a tensor")
        self.tokens.expect(":", "a tensor is `x: f32[M, N]`")
        dtype, shape = self.type()
        return Tensor(token.text, dtype, shape, token.location)

    def type(self) -> tuple[DType, tuple[Expr, ...]]:
        """`f32[M, N]`, or `f32` of rank 0."""
        dtype = self.dtype()
        shape: list[Expr] = []
        if self.tokens.accept("["):
            while not self.tokens.at("]"):
                shape.append(self.expr())
                if not self.tokens.accept(","):
                    break
            self.tokens.expect("]")
        return dtype, tuple(shape)

    def end(self) -> None:
        """Nothing may follow."""
        if not self.tokens.at_kind(Kind.END):
            self.tokens.error(f"unexpected {self.tokens.peek().shown}")

    def definition(self) -> SurfaceDefinition:
        start = self.tokens.peek()
        if self.tokens.accept("("):
            targets = [t.text for t in self.names("a target")]
            self.tokens.expect(")")
        else:
            targets = [self.new_name("a definition").text]
        axes: list[SurfaceAxis] = []
        if self.tokens.accept("["):
            while not self.tokens.at("]"):
                token = self.new_name("a free axis")
                extent = self.expr() if self.tokens.accept(":") else None
                axes.append(SurfaceAxis(token.text, None, extent, token.location))
                if not self.tokens.accept(","):
                    break
            self.tokens.expect("]")
        dtypes: list[DType] = []
        if self.tokens.accept(":"):
            dtypes.append(self.dtype())
            while self.tokens.accept(","):
                dtypes.append(self.dtype())
            if len(dtypes) not in (1, len(targets)):
                self.tokens.error(f"{len(dtypes)} types for {len(targets)} targets", start)
        self.tokens.expect("=", "a definition is `y[i, j] = ...`")
        return SurfaceDefinition(tuple(targets), tuple(axes), self.body(), tuple(dtypes), start.location)

    def body(self) -> Expr | SurfaceCompact | SurfaceSort:
        token = self.tokens.peek()
        if self.tokens.peek(1).text != "[" or token.text not in ("compact", "argsort", "argsort_desc"):
            return self.expr()
        self.tokens.next()
        self.tokens.next()
        axis = self.exprs.axis()
        if token.text == "compact":
            self.tokens.expect("where", "write `compact[j where condition]`")
            guard = self.expr()
            self.tokens.expect("]")
            return SurfaceCompact(axis, guard)
        self.tokens.expect("]")
        return SurfaceSort(axis, self.expr(), token.text == "argsort_desc")

    def stream(self) -> Stream:
        self.tokens.next()
        self.tokens.expect("[")
        axis = self.tokens.expect_name("an axis").text
        self.tokens.expect("]")
        self.tokens.expect("{")
        components = []
        while not self.tokens.at("}"):
            target = self.tokens.expect_name("a target").text
            repair = self.expr() if self.tokens.accept("repair") else None
            components.append(Component(target, repair))
            self.tokens.expect(";")
        self.tokens.expect("}")
        return Stream(axis, tuple(components))


def make_fn(fn: SurfaceFn, known: dict[str, SurfaceFn]) -> SurfaceFn:
    """A function checked to be closed, with the functions it calls (defined before it) inlined."""
    return SurfaceFn(fn.name, fn.parameters, inline_calls(fn.body, known, set(fn.parameters)), fn.location)


def make_monoid(monoid: Monoid, sides: tuple[str, ...], fns: dict[str, SurfaceFn]) -> Monoid:
    """A monoid whose members are named `a.*` and `b.*`, with function calls inlined and arities checked."""
    n = len(monoid.components)
    if len(set(monoid.components)) != n:
        raise VerifyError(f"a component of `{monoid.name}` is named twice", monoid.location)
    if len(monoid.identity) != n or len(monoid.combine) != n or len(sides) != 2:
        raise VerifyError(
            f"`{monoid.name}` has {n} components, {len(monoid.identity)} in its identity and {len(monoid.combine)} "
            "in its combine",
            monoid.location,
            "give one expression per component, and `combine(a, b)`",
        )
    members = {f"{side}.{c}": f"{ours}.{c}" for side, ours in zip(sides, "ab", strict=True) for c in monoid.components}

    def rename(expr: Expr) -> Expr | None:
        if isinstance(expr, Param):
            if expr.name not in members:
                known = ", ".join(members)
                raise VerifyError(f"`{expr.name}` is no member of `{monoid.name}`", monoid.location, f"one of {known}")
            return Param(members[expr.name])
        return None

    return replace(
        monoid,
        identity=tuple(inline_calls(e, fns, set()) for e in monoid.identity),
        combine=tuple(rewrite(inline_calls(e, fns, set()), rename) for e in monoid.combine),
    )
