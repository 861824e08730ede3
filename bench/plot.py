"""Line charts as inline SVG: no script, no library, colours from the page's style, so that both schemes work.

Rule: whatever text comes in is escaped; a value that is not known is a hole in the line, not a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 400, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 30
_MOST_POINTS = 120
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Line:
    """One thing over time (or over whatever x is)."""

    name: str
    points: Sequence[tuple[float, float | None]]


def chart(title: str, unit: str, lines: Sequence[Line], across: str = "seconds") -> str:
    """A figure with a legend; empty when there is nothing to show."""
    thinned = [Line(line.name, _thin(line.points)) for line in lines]
    shown = [line for line in thinned if any(y is not None for _, y in line.points)]
    if not shown:
        return ""
    scale = _Scale(shown)
    drawn = "".join(_drawn(line, number, scale, unit, across) for number, line in enumerate(shown))
    legend = "".join(
        f'<span class="key c{number}">{escape(line.name)}</span>' for number, line in enumerate(shown) if len(shown) > 1
    )
    return (
        f"<figure><figcaption>{escape(title)} <small>{escape(unit)}</small><div>{legend}</div></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{_grid(scale, across)}{drawn}</svg></figure>"
    )


class _Scale:
    """Where values are on the paper."""

    def __init__(self, lines: Sequence[Line]) -> None:
        xs = [x for line in lines for x, y in line.points if y is not None]
        ys = [y for line in lines for _, y in line.points if y is not None]
        self.left, self.right = min(xs), max(xs)
        if self.left == self.right:
            self.left, self.right = self.left - 0.5, self.right + 0.5
        self.ticks_y = ticks(0, max(ys) or 1, 4)
        self.ticks_x = [tick for tick in ticks(self.left, self.right, 6) if self.left <= tick <= self.right]
        self.top = self.ticks_y[-1]

    def x(self, value: float) -> float:
        """From the left."""
        return round(_LEFT + (value - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        """From above."""
        return round(_TOP + (1 - value / self.top) * (_HEIGHT - _TOP - _BOTTOM), 1)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` or below it to `high` or above it."""
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * 0.999)
    first, last = floor(low / step), ceil(round(high / step, 6))
    return [round(number * step, 10) for number in range(first, last + 1)]


def number(value: float) -> str:
    """As short as it can be told."""
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:,.6g}"


def _grid(scale: _Scale, across: str) -> str:
    parts, bottom = [], _HEIGHT - _BOTTOM
    for tick in scale.ticks_y:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{number(tick)}</text>')
    for tick in scale.ticks_x:
        parts.append(f'<text x="{scale.x(tick)}" y="{bottom + 16}" text-anchor="middle">{number(tick)}</text>')
    parts.append(
        f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 2}" text-anchor="end">{escape(across)}</text>'
    )
    return "".join(parts)


def _drawn(line: Line, place: int, scale: _Scale, unit: str, across: str) -> str:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in line.points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    parts = []
    for run in filter(None, runs):
        path = " ".join(f"{scale.x(x)},{scale.y(y)}" for x, y in run)
        parts.append(f'<polyline class="line c{place}" points="{path}"/>')
        for x, y in run:
            told = escape(f"{line.name}: {y:,.4g} {unit} ({x:,.4g} {across})")
            parts.append(
                f'<circle class="c{place}" cx="{scale.x(x)}" cy="{scale.y(y)}" r="2"><title>{told}</title></circle>'
            )
    return "".join(parts)


def _thin(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """At most so many points: neighbours become their mean."""
    size = -(-len(points) // _MOST_POINTS) or 1
    thinned: list[tuple[float, float | None]] = []
    for at in range(0, len(points), size):
        group = points[at : at + size]
        known = [y for _, y in group if y is not None]
        thinned.append((sum(x for x, _ in group) / len(group), sum(known) / len(known) if known else None))
    return thinned
