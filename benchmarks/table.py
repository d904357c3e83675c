"""Puts the figures of benchmarks/results/*.json into the table of README.md.

python benchmarks/table.py           prints the table
python benchmarks/table.py --write   replaces the one between the markers in README.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
START, END = "<!-- figures: benchmarks/table.py -->", "<!-- end of figures -->"


def table() -> str:
    """One line per case, in the order of the files."""
    lines = []
    for file in sorted((HERE / "results").glob("*.json")):
        result = json.loads(file.read_text())
        machine = result["machine"]
        lines += [
            f"\n{machine['cpu']}, {machine['threads']} threads, {machine['fma_gflops']:.0f} GFLOP/s, "
            f"{machine['copy_gb_per_s']:.0f} GB/s read and written:\n",
            "| case | Weft | floor | same bytes | best peer | Weft over floor | over best peer |",
            "|---|---|---|---|---|---|---|",
            *(line(row) for row in result["rows"] if row["weft_ms"] is not None),
        ]
    return "\n".join(lines).strip()


def line(row: dict[str, Any]) -> str:
    weft, floor, stream = row["weft_ms"], row["floor_ms"], row["stream_ms"]
    shown = f"| `{row['case']}` | {weft:.2f} | {floor:.2f} | {f'{stream:.2f}' if stream else '-'} | "
    if not row["peers"]:
        return shown + f"- | {weft / floor:.2f} | - |"
    name, peer = min(row["peers"].items(), key=lambda item: item[1])
    return shown + f"{peer:.2f} ({name}) | {weft / floor:.2f} | {weft / peer:.2f} |"


def main() -> int:
    if "--write" not in sys.argv[1:]:
        print(table())
        return 0
    text = README.read_text()
    before, rest = text.split(START, 1)
    _, after = rest.split(END, 1)
    README.write_text(f"{before}{START}\n{table()}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
