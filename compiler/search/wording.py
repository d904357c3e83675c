"""Candidates of the search in words."""

from __future__ import annotations

from dataclasses import fields

from ..planner import Choices

DEFAULTS = Choices()


def words(alternative: str, choices: Choices) -> str:
    """A candidate in a few words: its alternative, and what differs from the default choices."""
    parts = [alternative]
    for item in fields(Choices):
        value = getattr(choices, item.name)
        if item.name == "notes" or value == getattr(DEFAULTS, item.name):
            continue
        if isinstance(value, frozenset):
            value = "+".join(sorted(value))
        elif isinstance(value, tuple):
            value = "+".join(":".join(map(str, pair)) for pair in value)
        parts.append(f"{item.name}={value}")
    return " ".join(parts)
