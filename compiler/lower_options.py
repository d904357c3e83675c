"""What a user may say about scheduling; apart from `lower`, whose imports a kernel from the cache does without."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LowerOptions:
    """`search`: compare plans by modelled time, else the default plan is taken. `nodes`: how many plans to cost."""

    search: bool = True
    nodes: int = 48
