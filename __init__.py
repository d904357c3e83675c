"""Weft: a tensor compiler for operators whose cost is moving data."""
