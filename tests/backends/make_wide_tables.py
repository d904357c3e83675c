"""Makes backends/math_wide_tables.py: python tests/backends/make_wide_tables.py > backends/math_wide_tables.py

Every interval's polynomial is a weighted least-squares fit at Chebyshev nodes (within a few per cent of the minimax
polynomial), whose coefficients are rounded to f32 one after another, the later ones refitted after each rounding.
Where a table holds values of a logarithm, the points are chosen so that the values lie within about 2**-10 of half a
unit in the last place of f32 numbers (Gal 1986). The tests in test_math_wide.py measure what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

f32 = np.float32
ERF_LOW = float(f32(2 / math.sqrt(math.pi) - float(f32(2 / math.sqrt(math.pi)))))


def erf(x: Any) -> Any:
    return np.array([math.erf(v) for v in x])


def rounded_fit(powers: list[Any], target: Any, weight: Any, fixed: tuple[float, ...] = ()) -> list[float]:
    """Coefficients of `target` over `powers`, each rounded to f32 before the next is found."""
    found = list(fixed)
    for j in range(len(fixed), len(powers)):
        rest = target - sum((c * p for c, p in zip(found, powers, strict=False)), np.zeros_like(target))
        matrix = np.stack(powers[j:], 1) * weight[:, None]
        scale = np.abs(matrix).max(0)
        solved = np.linalg.lstsq(matrix / scale, rest * weight, rcond=None)[0] / scale
        found.append(float(f32(solved[0])))
    return found


def nodes(low: float, high: float, count: int = 64) -> tuple[Any, Any]:
    k = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return (low + high) / 2 + (high - low) / 2 * k, 1 / np.sqrt(np.sqrt(1 - k * k))


def pieces(f: Callable[[Any], Any], step: float, count: int, degree: int, limit: float) -> list[list[float]]:
    """Rows of coefficients of f(k*step + d), |d| <= step/2, errors relative to f; f is odd, so f(0) = 0."""
    rows = []
    for k in range(count):
        centre = k * step
        d, weight = nodes(-step / 2 if k else 1e-9, step / 2 if k < count - 1 else limit - centre)
        y = f(centre + d)
        slope = (float(f32(f(np.array([1e-12]))[0] / 1e-12)),) if k == 0 else ()
        start = (float(f32(f(np.array([centre]))[0])), *slope)
        rows.append(rounded_fit([d**i for i in range(degree + 1)], y, weight / np.abs(y), start))
    return rows


def quarters(f: Callable[[Any], Any], scale: float, degree: int, limit: float) -> tuple[list[float], list[list[float]]]:
    """Centres and rows of coefficients of f(centre + d) for the 16 intervals by the exponent and the leading two bits
    of the mantissa of 2 + scale*x, which lies in 2 .. 32."""
    centres, rows = [], []
    for k in range(16):
        width = 2.0 ** (k // 4) / 2
        edge = (4 + k % 4) * width
        low, high = (edge - 2) / scale, min(limit, (edge + width - 2) / scale)
        near = f32((low + high) / 2)
        candidates = near + np.arange(-2000, 2001) * np.spacing(near)
        values = f(candidates.astype(np.float64))
        error = np.abs(values - values.astype(f32)) / np.spacing(np.abs(values.astype(f32)))
        centre = 0.0 if k == 0 else float(candidates[int(error.argmin())])
        d, weight = nodes(max(low, 1e-9) - centre, high - centre)
        y = f(centre + d)
        start = (0.0, 1.0) if k == 0 else (float(f32(f(np.array([centre]))[0])),)
        centres.append(centre)
        rows.append(rounded_fit([d**i for i in range(degree + 1)], y, weight / np.abs(y), start))
    return centres, rows


def logarithm(base: float) -> tuple[list[float], list[float]]:
    """1/c and log(c) of 16 intervals of [3/4, 3/2), by the leading four bits of the mantissa."""
    inverses, logs = [], []
    for k in range(16):
        low = 1 + k / 16
        middle = low + 1 / 32 if k < 8 else (low + 1 / 32) / 2
        if k in (0, 15):  # next to 1 the error is to be relative to log(m)
            inverses.append(1.0)
            logs.append(0.0)
            continue
        near = f32(1 / middle)
        candidates = near + np.arange(-2000, 2001) * np.spacing(near)
        values = -np.log(candidates.astype(np.float64)) / math.log(base)
        error = np.abs(values - values.astype(f32)) / np.spacing(np.abs(values.astype(f32)))
        best = int(error.argmin())
        inverses.append(float(candidates[best]))
        logs.append(float(f32(values[best])))
    return inverses, logs


def two_over_pi(bits: int) -> int:
    """floor(2/pi * 2**bits), pi by Machin's formula."""
    one = 1 << (2 * bits)

    def arctan_of_inverse(n: int) -> int:
        total, term, k = 0, one // n, 1
        while term:
            total += term // k if k % 4 == 1 else -(term // k)
            term //= n * n
            k += 2
        return total

    return (2 * one << bits) // (4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)))


def far_turns() -> list[list[float]]:
    """2/pi * 2**96 in four rows of 24 bits for each 8 exponents e0 .. e0 + 7 (e0 = 1, 9, ...), without the bits that
    make multiples of 4 of every number with such an exponent (Payne and Hanek 1983)."""
    bits = 400
    whole = two_over_pi(bits)
    rows: list[list[float]] = [[] for _ in range(4)]
    for e0 in range(1, 122, 8):
        for i in range(4):
            lowest = 1 - e0 - 24 * i
            chunk = (whole >> (bits + lowest)) % (1 << 24)
            rows[i].append(math.ldexp(chunk, lowest + 96))
    return rows


def half_pi() -> list[float]:
    """pi/2 in three f32, each cut off."""
    rest = (1 << 400) * (1 << 200) // two_over_pi(400)  # pi/2 * 2**200
    out = []
    for _ in range(3):
        cut = rest >> (rest.bit_length() - 24) << (rest.bit_length() - 24)
        out.append(math.ldexp(cut >> (rest.bit_length() - 24), rest.bit_length() - 24 - 200))
        rest -= cut
    return out


def log_tail(base: float, degree: int) -> list[float]:
    """log(1 + r) = r*L + r^2 * P(r) with L = 1 for e."""
    r, weight = nodes(-0.0335, 0.0626)
    r = np.where(np.abs(r) < 1e-5, 1e-5, r)
    target = (np.log1p(r) - r) / math.log(base)
    return rounded_fit([r ** (i + 2) for i in range(degree + 1)], target, weight / np.abs(r))


def show(name: str, values: list[float]) -> str:
    text = ", ".join(repr(float(str(f32(v)))) for v in values)
    lines, line = [], ""
    for word in text.split(" "):
        if len(line) + len(word) > 108:
            lines.append(line.rstrip())
            line = ""
        line += word + " "
    lines.append(line.rstrip() + ",")
    return f"{name} = (\n" + "\n".join("    " + x for x in lines) + "\n)"


def show_rows(name: str, rows: list[list[float]]) -> None:
    count = len(rows[0])
    for i in range(count):
        print(show(f"{name}_{i}", [row[i] for row in rows]))
    print(f"{name} = ({', '.join(f'{name}_{i}' for i in range(count))})")


def main() -> None:
    head = "Coefficients for `math_wide`: a row for each power, an entry for each interval."
    print(f'"""{head}\n\nMade by tests/backends/make_wide_tables.py, where the method is described."""\n')
    print("from __future__ import annotations\n\n# fmt: off")
    step, limit, degree = 0.2532958984375, 3.926, 5
    erf_rows = []
    for k in range(16):

        def shifted(x: Any, centre: float = k * step) -> Any:  # the low part of the slope multiplies d, not x
            return erf(x) - ERF_LOW * (x - centre)

        erf_rows.append(pieces(shifted, step, 16, degree, limit)[k])
    print(f"ERF_STEP = {step!r}\nERF_LIMIT = {limit!r}")
    show_rows("ERF", erf_rows)
    scale, limit = 3.3, 9.0625
    centres, rows = quarters(np.tanh, scale, 5, limit)
    print(f"TANH_SCALE = {scale!r}\nTANH_LIMIT = {limit!r}")
    print(show("TANH_CENTRE", centres))
    show_rows("TANH", rows)
    print(f"ERF_LOW = {ERF_LOW!r}")
    exact = [2.0 ** (k / 16) for k in range(16)]
    print(show("EXP", exact))
    print(show("EXP_LOW", [v - float(f32(v)) for v in exact]))
    d, weight = nodes(-math.log(2) / 32 * 1.001, math.log(2) / 32 * 1.001)
    d = np.where(np.abs(d) < 1e-6, 1e-6, d)
    tail = rounded_fit([d**2, d**3], np.expm1(d) - d, weight)
    print(show("EXP_TAIL", tail))
    for name, base in (("LOG", math.e), ("LOG2", 2.0)):
        inverses, logs = logarithm(base)
        print(show(f"{name}_INVERSE", inverses))
        print(show(f"{name}_VALUE", logs))
        print(show(f"{name}_TAIL", log_tail(base, 3)))
    print(f"HALF_PI = {tuple(half_pi())!r}")
    far = far_turns()
    for i, row in enumerate(far):
        print(show(f"FAR_{i}", row))
    print("FAR = (FAR_0, FAR_1, FAR_2, FAR_3)")
    print("# fmt: on")


if __name__ == "__main__":
    main()
