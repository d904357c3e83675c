"""Puts the figures of benchmarks/results/search/*.json into the tables of benchmarks/results/README.md.

python benchmarks/search_tables.py           prints the tables
python benchmarks/search_tables.py --write   replaces those between the markers
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE / "results" / "README.md"
START, END = "<!-- figures: benchmarks/search_tables.py -->", "<!-- end of figures -->"


def model_table(data: dict[str, Any]) -> list[str]:
    """One line per program, and their totals."""
    rows = data["rows"]
    lines = [
        "| program | plans measured | chosen ms | best ms | median ms | chosen over best | rank correlation |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        times = " | ".join(f"{r[n]:.2f}" for n in ("chosen_ms", "best_ms", "median_ms"))
        plans, ratio = f"{r['candidates']} of {r['pool']}", r["chosen_ms"] / r["best_ms"]
        lines.append(f"| `{r['program']}` {extents(r)} | {plans} | {times} | {ratio:.2f} | {r['spearman']:.2f} |")
    near = sum(r["chosen_ms"] <= 1.1 * r["best_ms"] for r in rows)
    ordered = sum(r["spearman"] >= 0.85 for r in rows)
    lines.append(
        f"\nThe chosen plan is within 10% of the best one found for {near} of {len(rows)} programs; the rank "
        f"correlation is at least 0.85 for {ordered}; {sum(r['candidates'] for r in rows)} plans in all."
    )
    return lines


def ablation_table(data: dict[str, Any]) -> list[str]:
    """One line per program: milliseconds of the whole, and what the others take over it."""
    names = list(data["rows"][0]["ms"])
    whole, others = names[0], names[1:]
    lines = [f"| program | {whole}, ms | " + " | ".join(others) + " |", "|---" * (len(names) + 1) + "|"]
    ratios: dict[str, list[float]] = {n: [] for n in others}
    for r in data["rows"]:
        base = r["ms"][whole]
        for n in others:
            ratios[n].append(r["ms"][n] / base)
        cells = " | ".join(f"{ratios[n][-1]:.2f}" for n in others)
        lines.append(f"| `{r['program']}` {extents(r)} | {base:.2f} | {cells} |")
    means = " | ".join(f"{geometric_mean(ratios[n]):.2f}" for n in others)
    lines.append(f"| geometric mean | | {means} |")
    return lines


def extents(row: dict[str, Any]) -> str:
    return "x".join(str(v) for v in row["extents"].values())


def geometric_mean(values: list[float]) -> float:
    product = 1.0
    for v in values:
        product *= v
    return float(product ** (1 / len(values)))


def tables() -> str:
    out: list[str] = []
    for name, title, make in (
        ("model.json", "Predicted and measured", model_table),
        ("ablation.json", "One part switched off: time over that of the whole", ablation_table),
    ):
        path = HERE / "results" / "search" / name
        if path.exists():
            out += [f"### {title}", "", *make(json.loads(path.read_text())), ""]
    return "\n".join(out).strip()


def main() -> int:
    if "--write" not in sys.argv[1:]:
        print(tables())
        return 0
    before, rest = README.read_text().split(START, 1)
    _, after = rest.split(END, 1)
    README.write_text(f"{before}{START}\n{tables()}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
