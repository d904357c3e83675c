"""(op, plan) -> GIR: write out the loops, tiles, moves and buffers that a plan stands for."""

from .program import instantiate

__all__ = ["instantiate"]
