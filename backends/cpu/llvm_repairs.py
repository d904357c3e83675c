"""What has to be written otherwise because LLVM generates wrong code for it.

LLVM 22.1 (issue 179489 of llvm-project): a masked store of one constant lane whose value is a truncation stores the
lane before it was truncated, four bytes where two or one are meant. Optimised IR that holds such a store is rewritten
to store the element.
"""

from __future__ import annotations

import re

_STORE = re.compile(
    r"^(?P<lead>\s*)(?:tail |notail )?call void @llvm\.masked\.store\.v\d+i(?P<bits>8|16)\.p0\("
    r"(?P<type><\d+ x i(?:8|16)>) (?P<value>\S+), ptr (?:align (?P<align>\d+) )?(?P<address>\S+), "
    r"<\d+ x i1> <(?P<mask>[^>]*)>\)(?P<tail>.*)$",
    re.MULTILINE,
)


def repaired(text: str) -> str | None:
    """The module `text` without the stores LLVM gets wrong, or None where it has none."""
    serial = 0

    def element_store(found: re.Match[str]) -> str:
        nonlocal serial
        lanes = [number for number, bit in enumerate(found["mask"].split(", ")) if bit == "i1 true"]
        if len(lanes) != 1:
            return found[0]
        serial += 1
        lead, name, element = found["lead"], f"%weft.one.lane.{serial}", f"i{found['bits']}"
        bytes_ = int(found["bits"]) // 8
        return (
            f"{lead}{name} = extractelement {found['type']} {found['value']}, i64 {lanes[0]}\n"
            f"{lead}{name}.at = getelementptr i8, ptr {found['address']}, i64 {lanes[0] * bytes_}\n"
            f"{lead}store {element} {name}, ptr {name}.at, align {bytes_}{found['tail']}"
        )

    changed = _STORE.sub(element_store, text)
    return changed if serial else None
