"""Prints every text that compiling some operators gives, for test_hash_seeds.py."""

from __future__ import annotations

from pathlib import Path

import weft

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OPERATORS = [("block_sparse.gir", "sparse_rows"), ("gauss_seidel.gir", "gauss_seidel_2d"), ("softmax.gir", "softmax")]

for file, entry in OPERATORS:
    for target in ("cpu", "c"):
        kernel = weft.compile(EXAMPLES / file, target, entry=entry, specialise="never", nodes=4)
        print(kernel.text("op"), kernel.text("gir"), kernel.text("graph"), kernel.source, kernel.cost(), sep="\n")
