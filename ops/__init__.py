"""The operator library: mathematics in index notation (`*.gir`) and nothing else. `load(name)` gives an op."""

from .library import load, names, source

__all__ = ["load", "names", "source"]
