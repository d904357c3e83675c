"""The text of scalar expressions, shared by the op form and GIR: `ExprParser`, `parse_expr`, `print_expr`.

Precedence, loosest first (docs/language.md has the grammar): `a if c else b`, `or`, `and`, `not`, comparisons (which do
not chain), `+ -`, `* / // %`, unary `-`, `**`. Printing puts in just the parentheses that parsing needs to give the
same tree back.

A literal may carry its type: `1.5_f64`, `3_i32`, `inf_f32`. Without one it takes the reader's default (none in the op
form, where typing decides; i64 and f32 in GIR).
"""

from __future__ import annotations

import math
import re

from .dtypes import DType
from .errors import Location
from .expr import ARITY, Boundary, Call, Cast, Const, Coord, Expr, Fn, Param, Read, Ref, Var
from .lexer import Kind, Token, TokenStream

MAX_NESTING = 120  # operands and brackets inside each other: bounds the parser's recursion
MAX_DEPTH = 160  # of an expression tree: bounds everybody else's

_DTYPES = {d.value: d for d in DType}
_BINARY: dict[str, tuple[int, Fn]] = {
    "or": (2, Fn.OR),
    "and": (3, Fn.AND),
    "<": (5, Fn.LT),
    "<=": (5, Fn.LE),
    ">": (5, Fn.GT),
    ">=": (5, Fn.GE),
    "==": (5, Fn.EQ),
    "!=": (5, Fn.NE),
    "+": (6, Fn.ADD),
    "-": (6, Fn.SUB),
    "*": (7, Fn.MUL),
    "/": (7, Fn.DIV),
    "//": (7, Fn.FLOORDIV),
    "%": (7, Fn.MOD),
}
TERNARY, OR, AND, NOT, COMPARISON, SUM, TERM, UNARY, POWER, ATOM = range(1, 11)
_INFIX: dict[Fn, tuple[int, str]] = {fn: (level, text) for text, (level, fn) in _BINARY.items()}
FUNCTIONS: dict[str, Fn] = {fn.value: fn for fn in Fn if fn not in _INFIX and fn not in (Fn.NEG, Fn.NOT)}
CONSTANTS = ("inf", "nan")
_TYPED_CONSTANT = re.compile(rf"({'|'.join(CONSTANTS)})_({'|'.join(_DTYPES)})")
KEYWORDS = frozenset({"if", "else", "and", "or", "not", "true", "false", "in", "where", *CONSTANTS})


def is_reserved(name: str) -> bool:
    """Words that mean something inside every expression and so cannot be names."""
    return name in KEYWORDS or name in _DTYPES or name in FUNCTIONS or _TYPED_CONSTANT.fullmatch(name) is not None


class ExprParser:
    """Recursive descent over a token stream. Subclasses say what names and brackets mean in their form."""

    int_dtype: DType | None = DType.I64
    float_dtype: DType | None = DType.F32

    def __init__(self, tokens: TokenStream) -> None:
        self.tokens = tokens
        self.nesting = 0

    # what a form decides -------------------------------------------------------------------------------------------

    def name(self, token: Token) -> Expr:
        """A bare name. GIR's default: the value of a tile."""
        return Ref(token.text, token.location)

    def member(self, owner: Token, field: Token) -> Expr:
        """`owner.field`."""
        return Param(f"{owner.text}.{field.text}")

    def call(self, token: Token, args: tuple[Expr, ...]) -> Expr:
        """A call of a name that is no built-in function."""
        self.tokens.error(f"unknown function `{token.text}`", token, f"one of {', '.join(sorted(FUNCTIONS))}")

    def special(self, token: Token) -> Expr | None:
        """A construct that starts with this (already consumed) name, or None."""
        return None

    # grammar -------------------------------------------------------------------------------------------------------

    def parse(self) -> Expr:
        """One whole expression, no deeper than MAX_DEPTH."""
        start = self.tokens.peek()
        expr = self.expr(TERNARY)
        if depth(expr) > MAX_DEPTH:
            self.tokens.error("expression too long or too deep", start, "split it into several definitions")
        return expr

    def expr(self, level: int = TERNARY, base: Expr | None = None) -> Expr:
        """An expression of at least this precedence; `base` is its first atom where that is already consumed."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.tokens.error("nested too deeply", remedy="split the expression into several definitions")
        try:
            left = self.prefix(level) if base is None else self.power(base, level)
            length = 0
            while True:
                token = self.tokens.peek()
                found = _BINARY.get(token.text) if token.kind is not Kind.END else None
                if found is None or found[0] < level:
                    break
                length += 1
                if length > MAX_DEPTH:
                    self.tokens.error("expression too long", token, "split it into several definitions")
                self.tokens.next()
                right = self.expr(found[0] + 1)
                left = Call(found[1], (left, right), token.location)
                if found[0] == COMPARISON and _BINARY.get(self.tokens.peek().text, (0,))[0] == COMPARISON:
                    self.tokens.error("comparisons do not chain", remedy="write `a < b and b < c`")
            if level <= TERNARY and self.tokens.at("if"):
                token = self.tokens.next()
                condition = self.expr(OR)
                self.tokens.expect("else", "a conditional is `a if condition else b`")
                left = Call(Fn.SELECT, (condition, left, self.expr(TERNARY)), token.location)
            return left
        finally:
            self.nesting -= 1

    def prefix(self, level: int) -> Expr:
        token = self.tokens.peek()
        if token.text == "not" and token.kind is Kind.NAME:
            if level > NOT:
                self.tokens.error("`not` needs parentheses here", remedy="write `(not a)`")
            self.tokens.next()
            return Call(Fn.NOT, (self.expr(NOT),), token.location)
        if token.text == "-":
            self.tokens.next()
            literal = self.tokens.peek()
            if self._is_literal(literal) and self.tokens.peek(1).text != "**":
                self.tokens.next()
                return self.literal(literal, negative=True)
            return Call(Fn.NEG, (self.expr(UNARY),), token.location)
        return self.power(self.atom(), level)

    def power(self, base: Expr, level: int) -> Expr:
        if self.tokens.at("**") and level <= POWER:
            power = self.tokens.next()
            return Call(Fn.POW, (base, self.expr(UNARY)), power.location)
        return base

    def atom(self) -> Expr:
        token = self.tokens.peek()
        if self._is_literal(token):
            return self.literal(self.tokens.next())
        if self.tokens.accept("("):
            inner = self.expr()
            self.tokens.expect(")")
            return inner
        if self.tokens.accept("@"):
            return Coord(self.tokens.expect_int("a tile axis"))
        if token.kind is not Kind.NAME:
            self.tokens.error(f"expected an expression, found {token.shown}")
        self.tokens.next()
        if token.text in ("true", "false"):
            return Const(token.text == "true", DType.BOOL)
        found = self.special(token)
        if found is not None:
            return found
        after = self.tokens.peek()
        if after.text == "[" and not is_reserved(token.text):
            return self.read(token, Boundary.NONE, None)
        if after.text == "(" and after.location.line == token.location.line:
            return self._call(token)
        if after.text == "." and not is_reserved(token.text):
            return self._dotted(token)
        if is_reserved(token.text):
            self.tokens.error(f"`{token.text}` is a reserved word", token, "use another name")
        return self.name(token)

    def read(self, token: Token, boundary: Boundary, fill: Expr | None) -> Expr:
        """`[index, ...]`, the tensor's name being consumed."""
        return Read(token.text, self.index(), boundary, fill, token.location)

    def index(self) -> tuple[Expr, ...]:
        self.tokens.expect("[")
        return self._list("]")

    def _list(self, closing: str) -> tuple[Expr, ...]:
        out: list[Expr] = []
        while not self.tokens.at(closing):
            out.append(self.expr())
            if not self.tokens.accept(","):
                break
        self.tokens.expect(closing)
        return tuple(out)

    def _call(self, token: Token) -> Expr:
        self.tokens.expect("(")
        args = self._list(")")
        if token.text in _DTYPES:
            if len(args) != 1:
                self.tokens.error(f"the cast `{token.text}` takes one argument, found {len(args)}", token)
            return Cast(_DTYPES[token.text], args[0], token.location)
        fn = FUNCTIONS.get(token.text)
        if fn is None:
            return self.call(token, args)
        if fn in (Fn.MAX, Fn.MIN) and len(args) > 2:
            return fold_left(fn, args, token.location)
        if len(args) != ARITY[fn]:
            self.tokens.error(f"`{fn}` takes {ARITY[fn]} argument(s), found {len(args)}", token)
        return Call(fn, args, token.location)

    def _dotted(self, token: Token) -> Expr:
        self.tokens.expect(".")
        member = self.tokens.expect_name("a boundary or a member", "boundaries are pad(value), clamp, wrap, reflect")
        if member.text == Boundary.PAD.value and self.tokens.accept("("):
            fill = self.expr()
            self.tokens.expect(")")
            return self.read(token, Boundary.PAD, fill)
        if self.tokens.at("["):
            modes = {b.value: b for b in (Boundary.CLAMP, Boundary.WRAP, Boundary.REFLECT)}
            if member.text in modes:
                return self.read(token, modes[member.text], None)
            self.tokens.error(f"unknown boundary `{member.text}`", member, "pad(value), clamp, wrap or reflect")
        return self.member(token, member)

    @staticmethod
    def _is_literal(token: Token) -> bool:
        if token.kind is Kind.NAME:
            return token.text in CONSTANTS or _TYPED_CONSTANT.fullmatch(token.text) is not None
        return token.kind is Kind.NUMBER

    def literal(self, token: Token, negative: bool = False) -> Const:
        text, _, suffix = token.text.partition("_")
        dtype = _DTYPES.get(suffix)
        sign = -1 if negative else 1
        if text.isdigit() and (dtype is None or dtype.is_int):
            value = int(text) * sign
            if not -(2**63) <= value < 2**63:
                self.tokens.error(f"the integer {token.shown} does not fit 64 bits", token)
            return Const(value, dtype or self.int_dtype)
        if dtype is not None and not dtype.is_float:
            self.tokens.error(f"{token.shown} is not a value of type {dtype}", token)
        number = float(text) * sign
        if math.isinf(number) and text != "inf":
            self.tokens.error(f"the number {token.shown} is too large", token, "write `inf` for infinity")
        return Const(number, dtype or self.float_dtype)


def fold_left(fn: Fn, args: tuple[Expr, ...], location: Location) -> Expr:
    """`max(a, b, c)` is `max(max(a, b), c)`."""
    out = args[0]
    for arg in args[1:]:
        out = Call(fn, (out, arg), location)
    return out


def depth(expr: Expr) -> int:
    """Height of the tree, counted without recursion."""
    level, height = [expr], 0
    while level:
        height += 1
        level = [c for e in level for c in e.children]
    return height


def parse_expr(tokens: TokenStream) -> Expr:
    """An expression with GIR's defaults: bare names are `Ref`, `@k` is `Coord(k)`, literals are i64 and f32."""
    return ExprParser(tokens).parse()


def print_expr(
    expr: Expr, level: int = TERNARY, int_dtype: DType | None = DType.I64, float_dtype: DType | None = DType.F32
) -> str:
    """The text of an expression; literals of the two default types stand without a suffix."""
    return _Printer(int_dtype, float_dtype).text(expr, level)


class _Printer:
    def __init__(self, int_dtype: DType | None, float_dtype: DType | None) -> None:
        self.int_dtype = int_dtype
        self.float_dtype = float_dtype

    def text(self, expr: Expr, level: int = TERNARY) -> str:
        text, own = self.node(expr)
        return f"({text})" if own < level else text

    def node(self, expr: Expr) -> tuple[str, int]:
        match expr:
            case Const():
                text = self.const(expr)
                return text, UNARY if text.startswith("-") else ATOM
            case Var(name) | Ref(name) | Param(name):
                return name, ATOM
            case Coord(axis):
                return f"@{axis}", ATOM
            case Cast(dtype, arg):
                return f"{dtype}({self.text(arg)})", ATOM
            case Read(tensor, (), Boundary.NONE):
                return tensor, ATOM
            case Read(tensor, index, boundary, fill):
                mode = "" if boundary is Boundary.NONE else f".{boundary.value}"
                if fill is not None:
                    mode += f"({self.text(fill)})"
                return f"{tensor}{mode}[{self.list(index)}]", ATOM
            case Call(Fn.SELECT, (condition, a, b)):
                return f"{self.text(a, OR)} if {self.text(condition, OR)} else {self.text(b)}", TERNARY
            case Call(Fn.NEG, (a,)):
                # `-1` would read as a literal, so a negated literal keeps its parentheses
                return f"-{f'({self.text(a)})' if isinstance(a, Const) else self.text(a, UNARY)}", UNARY
            case Call(Fn.NOT, (a,)):
                return f"not {self.text(a, NOT)}", NOT
            case Call(Fn.POW, (a, b)):
                return f"{self.text(a, ATOM)} ** {self.text(b, UNARY)}", POWER
            case Call(fn, args):
                if fn in _INFIX:
                    own, mark = _INFIX[fn]
                    first = own + 1 if own == COMPARISON else own
                    return f"{self.text(args[0], first)} {mark} {self.text(args[1], own + 1)}", own
                return f"{fn}({self.list(args)})", ATOM
        raise TypeError(f"no text for {type(expr).__name__}")

    def list(self, exprs: tuple[Expr, ...]) -> str:
        return ", ".join(self.text(e) for e in exprs)

    def const(self, expr: Const) -> str:
        if isinstance(expr.value, bool):
            return "true" if expr.value else "false"
        default = self.int_dtype if isinstance(expr.value, int) else self.float_dtype
        suffix = "" if expr.dtype is None or expr.dtype is default else f"_{expr.dtype}"
        return f"{expr.value!r}{suffix}"
