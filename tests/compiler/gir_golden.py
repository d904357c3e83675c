"""Passes on GIR text: a kernel goes in, a kernel comes out, both as people write them."""

from weft.compiler.passes.base import Pass
from weft.ir.gir import Program
from weft.ir.gir_parser import parse_program
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify

HEAD = """program p(N) where N % 4 == 0 {
  tensor x: f32[N, 16] input
  tensor h: f16[N, 16] input
  tensor y: f32[N, 16] output
  tensor tmp: f32[N, 16] temp
  kernel k {
"""


def program(body: str) -> Program:
    return parse_program(HEAD + body + "\n  }\n}\n")


def after(rewrite: Pass, body: str) -> list[str]:
    """The lines of the kernel's body after the pass, stripped; the result verifies."""
    out = rewrite.run(program(body))
    verify(out)
    text = print_program(out).split("\n")
    start = next(k for k, line in enumerate(text) if line.strip().startswith("kernel "))
    return [line.strip() for line in text[start + 1 :] if line.strip()][:-2]


def lines(body: str) -> list[str]:
    return [line.strip() for line in body.strip().split("\n") if line.strip()]


def unchanged(rewrite: Pass, body: str) -> bool:
    before = program(body)
    return rewrite.run(before) == before
