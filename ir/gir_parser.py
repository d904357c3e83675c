"""GIR from text (grammar: docs/gir.md). Parsing runs nothing; whatever the text, it ends in a program or a UserError.

No word is reserved beyond those of expressions: `load`, `store`, `step` ... are recognised by where they stand, since
tensors keep the names their users gave them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .dtypes import DType
from .errors import Location
from .expr import ASSOCIATIVE, Boundary, Expr, Fn, Ref, Var, as_int, const
from .expr_text import MAX_DEPTH, SUM, ExprParser, depth, is_reserved
from .gir import (
    Access,
    Alloc,
    Branch,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    LoopKind,
    Move,
    Prefetch,
    Program,
    Reduce,
    Role,
    Stmt,
    Store,
    Sync,
    Tensor,
)
from .lexer import Kind, Token, TokenStream
from .op import Symbol

MAX_NESTING = 40  # loops and branches inside each other: bounds everybody's recursion

_LEVELS = {level.value: level for level in Level}
_DTYPES = {d.value: d for d in DType}
_ROLES = {role.value: role for role in Role}
_LOOPS = {kind.value: kind for kind in LoopKind if not kind.is_parallel}
_PARALLEL = {kind.value.split()[1]: kind for kind in LoopKind if kind.is_parallel}
_FOLDS = {fn.value: fn for fn in ASSOCIATIVE}

T = TypeVar("T")


def parse_program(text: str, filename: str = "") -> Program:
    """The program that `text` holds. Raises ParseError with line, column and remedy."""
    return _Parser(TokenStream(text, filename)).program()


class _Expressions(ExprParser):
    """Names are loop indices and symbols where they are in scope as such, tiles otherwise."""

    def __init__(self, tokens: TokenStream) -> None:
        super().__init__(tokens)
        self.numbers: set[str] = set()

    def name(self, token: Token) -> Expr:
        if token.text in self.numbers:
            return Var(token.text, token.location)
        return Ref(token.text, token.location)

    def member(self, owner: Token, field: Token) -> Expr:
        self.tokens.error("a scheduled program has no members", owner, "use a tile's name")

    def read(self, token: Token, boundary: Boundary, fill: Expr | None) -> Expr:
        self.tokens.error(
            f"`{token.text}[...]` inside an expression", token, "load it into a tile first: `v = load<16> x[i, @0]`"
        )


class _Parser:
    def __init__(self, tokens: TokenStream) -> None:
        self.tokens = tokens
        self.expressions = _Expressions(tokens)
        self.mutable: dict[str, tuple[tuple[int, ...], DType]] = {}
        self.nesting = 0

    # ---- pieces

    def name(self, what: str) -> Token:
        token = self.tokens.expect_name(what)
        if is_reserved(token.text):
            self.tokens.error(f"`{token.text}` is a reserved word", token, "use another name")
        return token

    def one_of(self, table: dict[str, T], what: str) -> T:
        token = self.tokens.peek()
        if token.kind is not Kind.NAME or token.text not in table:
            self.tokens.error(f"expected {what}, found {token.shown}", remedy="one of " + ", ".join(sorted(table)))
        self.tokens.next()
        return table[token.text]

    def expr(self) -> Expr:
        return self.expressions.parse()

    def listed(self, closing: str, item: Callable[[], T]) -> tuple[T, ...]:
        """Items separated by commas up to the closing mark."""
        out: list[T] = []
        while not self.tokens.at(closing):
            out.append(item())
            if not self.tokens.accept(","):
                break
        self.tokens.expect(closing)
        return tuple(out)

    def box(self) -> tuple[int, ...]:
        """`<16, 4>`, or nothing for a scalar."""
        if not self.tokens.accept("<"):
            return ()
        return self.listed(">", lambda: self.tokens.expect_int("a tile extent, a plain integer"))

    def extent(self) -> Expr:
        """An extent between `<` and `>`: a sum, so that `>` ends it."""
        start = self.tokens.peek()
        expr = self.expressions.expr(SUM)
        if depth(expr) > MAX_DEPTH:
            self.tokens.error("expression too long or too deep", start)
        return expr

    def access(self) -> Access:
        buffer = self.name("a buffer")
        self.tokens.expect("[", f"an access is `{buffer.text}[index, ...]`")
        return Access(buffer.text, self.listed("]", self.expr))

    def guard(self) -> tuple[Expr | None, Expr | None]:
        predicate = self.expr() if self.tokens.accept("where") else None
        fill = self.expr() if self.tokens.accept("else") else None
        return predicate, fill

    # ---- structure

    def program(self) -> Program:
        start = self.tokens.expect("program", "a scheduled program starts with `program NAME(SYMBOLS) {`")
        name = self.name("the program's name").text
        self.tokens.expect("(")
        symbols = self.listed(")", self.symbol)
        facts: list[Expr] = []
        if self.tokens.accept("where"):
            facts.append(self.expr())
            while self.tokens.accept(","):
                facts.append(self.expr())
        self.tokens.expect("{")
        tensors: list[Tensor] = []
        kernels: list[Kernel] = []
        while self.tokens.at("tensor"):
            tensors.append(self.tensor())
        while self.tokens.at("kernel"):
            kernels.append(self.kernel())
        self.tokens.expect("}", "tensors come first, then kernels")
        if not self.tokens.at_kind(Kind.END):
            self.tokens.error(f"{self.tokens.peek().shown} after the end of the program", remedy="one program per file")
        return Program(name, symbols, tuple(tensors), tuple(kernels), tuple(facts), start.location)

    def symbol(self) -> Symbol:
        token = self.name("a symbol")
        default = None
        if self.tokens.accept("="):
            sign = -1 if self.tokens.accept("-") else 1
            default = sign * self.tokens.expect_int("a default")
        self.expressions.numbers.add(token.text)
        return Symbol(token.text, default, token.location)

    def tensor(self) -> Tensor:
        self.tokens.expect("tensor")
        token = self.name("a tensor's name")
        self.tokens.expect(":")
        dtype = self.one_of(_DTYPES, "an element type")
        self.tokens.expect("[", "a tensor is `tensor x: f32[M, N] input`")
        shape = self.listed("]", self.expr)
        return Tensor(token.text, dtype, shape, self.one_of(_ROLES, "a role"), token.location)

    def kernel(self) -> Kernel:
        start = self.tokens.expect("kernel")
        name = self.name("a kernel's name").text
        self.mutable = {}
        return Kernel(name, self.body(), start.location)

    def body(self) -> tuple[Stmt, ...]:
        self.tokens.expect("{")
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.tokens.error("nested too deeply", remedy=f"at most {MAX_NESTING} loops and branches inside each other")
        outer = dict(self.mutable)
        stmts: list[Stmt] = []
        while not self.tokens.at("}"):
            stmts.append(self.stmt())
        self.tokens.expect("}")
        self.mutable = outer
        self.nesting -= 1
        return tuple(stmts)

    # ---- statements

    def stmt(self) -> Stmt:
        token = self.tokens.peek()
        after = self.tokens.peek(1)
        if token.kind is not Kind.NAME:
            self.tokens.error(f"expected a statement, found {token.shown}", remedy="a statement, or `}`")
        if after.text in ("=", ":") and after.kind is Kind.PUNCT:
            return self.assignment()
        match token.text:
            case "alloc":
                return self.alloc()
            case "store":
                return self.store()
            case "move":
                return self.move()
            case "prefetch":
                return self.prefetch()
            case "sync":
                self.tokens.next()
                return Sync(self.one_of(_LEVELS, "a level"), token.location)
            case "when":
                return self.branch()
            case "if":
                self.tokens.error("`if` belongs to expressions", token, "a branch is `when condition { ... }`")
            case "parallel":
                self.tokens.next()
                return self.loop(self.one_of(_PARALLEL, "what runs in parallel"), token.location)
        if token.text in _LOOPS:
            self.tokens.next()
            return self.loop(_LOOPS[token.text], token.location)
        self.tokens.error(
            f"expected a statement, found {token.shown}",
            remedy="alloc, store, move, prefetch, sync, loop, unroll, parallel, when, or `tile = ...`",
        )

    def alloc(self) -> Stmt:
        self.tokens.expect("alloc")
        token = self.name("the buffer's name")
        self.tokens.expect(":")
        dtype = self.one_of(_DTYPES, "an element type")
        shape: tuple[Expr, ...]
        if self.tokens.accept("["):
            shape = self.listed("]", self.expr)
        else:
            shape = tuple(const(e) for e in self.box())
        level = self.one_of(_LEVELS, "a level")
        if level is Level.REG:
            extents = [as_int(e) for e in shape]
            if any(e is None for e in extents):
                self.tokens.error("a register tile has a static shape", token, "integers, or another level")
            self.mutable[token.text] = (tuple(e for e in extents if e is not None), dtype.arithmetic)
        return Alloc(token.text, dtype, shape, level, token.location)

    def assignment(self) -> Stmt:
        token = self.name("a tile")
        typed: tuple[tuple[int, ...], DType] | None = None
        if self.tokens.accept(":"):
            dtype = self.one_of(_DTYPES, "an element type")
            typed = (self.box(), dtype)
        self.tokens.expect("=", "leave a space between `>` and `=`" if self.tokens.at(">=") else "")
        if typed is None and self.tokens.at("load") and self.is_load():
            self.tokens.next()
            pairs = self.is_pairs()
            if pairs:
                self.tokens.next()
            shape, source = self.box(), self.access()
            return Load(token.text, shape, source, *self.guard(), token.location, pairs)
        if (
            typed is None
            and (self.tokens.at("reduce") or self.tokens.at("scan"))
            and self.tokens.peek(1).kind is Kind.NAME
        ):
            running = self.tokens.next().text == "scan"
            fn: Fn = self.one_of(_FOLDS, "a fold")
            source_tile = self.name("a tile").text
            self.tokens.expect("over", "`reduce max tile over 0`")
            axes = [self.tokens.expect_int("a tile axis")]
            while self.tokens.accept(","):
                axes.append(self.tokens.expect_int("a tile axis"))
            return Reduce(token.text, fn, source_tile, tuple(axes), token.location, running)
        known = typed or self.mutable.get(token.text)
        if known is None:
            self.tokens.error(
                f"the new tile `{token.text}` has no type",
                token,
                f"`{token.text}: f32<16> = ...`, or allocate it at level reg",
            )
        return Compute(token.text, known[0], self.expr(), known[1], token.location)

    def is_load(self) -> bool:
        """Whether `load` starts an instruction here: `load x[` or `load<...> x[` is no expression."""
        ahead = 2 if self.is_pairs() else 1
        if self.tokens.peek(ahead).text == "<":
            ahead += 1
            while self.tokens.peek(ahead).kind is Kind.NUMBER or self.tokens.peek(ahead).text == ",":
                ahead += 1
            if self.tokens.peek(ahead).text != ">":
                return False
            ahead += 1
        return self.tokens.peek(ahead).kind is Kind.NAME and self.tokens.peek(ahead + 1).text == "["

    def is_pairs(self) -> bool:
        """Whether the `pairs` after `load` says what is loaded: `load pairs[` names a buffer."""
        ahead = 1 if self.tokens.at("load") else 0
        after = self.tokens.peek(ahead + 1)
        return self.tokens.peek(ahead).text == "pairs" and (after.text == "<" or after.kind is Kind.NAME)

    def store(self) -> Stmt:
        start = self.tokens.expect("store")
        shape, target = self.box(), self.access()
        self.tokens.expect("=")
        value = self.expr()
        predicate = self.expr() if self.tokens.accept("where") else None
        streaming = self.tokens.at("streaming") and self.tokens.peek(1).text not in ("=", ":")
        if streaming:
            self.tokens.next()
        return Store(target, shape, value, predicate, streaming, start.location)

    def move(self) -> Stmt:
        start = self.tokens.expect("move")
        shape: tuple[Expr, ...] = ()
        if self.tokens.accept("<"):
            shape = self.listed(">", self.extent)
        target = self.access()
        self.tokens.expect("=")
        source = self.access()
        return Move(target, source, shape, *self.guard(), start.location)

    def prefetch(self) -> Stmt:
        start = self.tokens.expect("prefetch")
        shape = self.box()
        if len(shape) != 1:
            self.tokens.error("a prefetch has one extent", start, "`prefetch<64> x[i + 1, j]`")
        return Prefetch(self.access(), shape[0], start.location)

    def loop(self, kind: LoopKind, location: Location) -> Stmt:
        token = self.name("a loop index")
        self.tokens.expect("in", "a loop is `loop i in 0..N step 16 { ... }`")
        lo = self.expr()
        self.tokens.expect("..")
        hi = self.expr()
        step = 1
        if self.tokens.accept("step"):
            step = self.tokens.expect_int("a step")
        if step < 1:
            self.tokens.error("the step of a loop is 0", token, "a positive step")
        outer = set(self.expressions.numbers)
        self.expressions.numbers.add(token.text)
        body = self.body()
        self.expressions.numbers = outer
        return Loop(token.text, lo, hi, step, kind, body, location)

    def branch(self) -> Stmt:
        start = self.tokens.expect("when")
        condition = self.expr()
        then = self.body()
        otherwise = self.body() if self.tokens.accept("else") else ()
        return Branch(condition, then, otherwise, start.location)
