"""Instruction sets: what code for a machine may use, and what a processor must have to run it.

Which one a machine has is a line of its description (`isa = "avx512"`). `cpu` is the least capable processor with the
set under a name that LLVM, GCC and Clang share; `needs` are features as Linux lists them, without which the code does
not run. A set whose architecture is not this machine's still schedules and emits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InstructionSet:
    """`has_masks`: loads and stores of some lanes; `has_fma`: multiply-adds that round once; `has_half`: conversions of
    f16; `has_scalef`: scaling of vectors by powers of two; `has_bf16_dot`: multiply-adds of pairs of bf16, as many a
    cycle as of f32."""

    name: str
    architecture: str  # the first part of a triple
    cpu: str
    features: str  # LLVM's, beyond those of `cpu`
    needs: frozenset[str]
    vector_bytes: int  # of the widest register
    vector_registers: int
    has_masks: bool = False
    has_fma: bool = True
    has_half: bool = True
    has_scalef: bool = False
    has_bf16_dot: bool = False

    @property
    def is_x86(self) -> bool:
        return self.architecture == "x86_64"


_AVX2 = ("avx2", "fma", "f16c")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")

# Of one architecture, the most capable first: a processor gets the first that it can run.
INSTRUCTION_SETS = {
    s.name: s
    for s in (
        InstructionSet(
            "avx512bf16", "x86_64", "cooperlake", "+avx512bf16,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx2,+fma",
            frozenset((*_AVX512, "avx512_bf16")), 64, 32, has_masks=True, has_scalef=True, has_bf16_dot=True,
        ),
        InstructionSet(
            "avx512", "x86_64", "skylake-avx512", "+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx2,+fma",
            frozenset(_AVX512), 64, 32, has_masks=True, has_scalef=True,
        ),
        InstructionSet("avx2", "x86_64", "haswell", "+avx2,+fma,+f16c", frozenset(_AVX2), 32, 16),
        InstructionSet(
            "simd128", "x86_64", "x86-64-v2", "", frozenset({"ssse3", "sse4_1", "sse4_2"}), 16, 16,
            has_fma=False, has_half=False,
        ),
        InstructionSet("sse2", "x86_64", "x86-64", "", frozenset({"sse2"}), 16, 16, has_fma=False, has_half=False),
        InstructionSet("neon", "aarch64", "generic", "+neon", frozenset(), 16, 32),
    )
}  # fmt: skip


def best_set(architecture: str, features: frozenset[str]) -> InstructionSet:
    """The most capable set that a processor with these features can run. Where nothing is known of an architecture,
    the one with short vectors and no assumptions."""
    for one in INSTRUCTION_SETS.values():
        if runs(one, architecture, features):
            return one
    return INSTRUCTION_SETS["sse2"]


def runs(one: InstructionSet, architecture: str, features: frozenset[str]) -> bool:
    return one.architecture == architecture and one.needs <= features
