"""Write what `bench.growth` measured: a table, how each cost grows, and a picture with a panel for each."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

WIDTH, HEIGHT, COLUMNS = 450, 230, 2
LEFT, RIGHT, TOP, BOTTOM = 56, 26, 40, 44


@dataclass
class Series:
    """The cost of one unit of work at several sizes of one thing.

    Args:
        name: what costs.
        size: what grows.
        unit: of the cost.
        limit: the highest exponent that is all right. A cost per tick that does not grow has 0: all ticks together
            then cost in proportion to their number.
        costs: size → one value per round.
    """

    name: str
    size: str
    unit: str
    limit: float
    costs: dict[int, list[float]] = field(default_factory=dict)

    def add(self, size: int, cost: float) -> None:
        """Take one round's value."""
        self.costs.setdefault(size, []).append(cost)

    @property
    def medians(self) -> dict[int, float]:
        return {size: statistics.median(values) for size, values in sorted(self.costs.items())}

    @property
    def exponent(self) -> float:
        """Return how the cost grows towards the largest size: as size to the power of this.

        From where it is least, but over a factor of four at least: between neighbours noise would look like growth.
        """
        *smaller, (largest, last) = self.medians.items()
        far = [(size, cost) for size, cost in smaller if size * 4 <= largest] or smaller[:1]
        least, cost = min(far, key=lambda pair: pair[1])
        return math.log(last / cost) / math.log(largest / least)

    @property
    def is_right(self) -> bool:
        return self.exponent <= self.limit


def table(series: list[Series]) -> list[str]:
    """Return all of them as Markdown: a row each, sizes beside one another."""
    lines = ["| cost of | by | at each size | unit | grows as | at most |", "|---|---|---|---|---|---|"]
    for one in series:
        cells = ", ".join(f"{_short(size)}: {cost:.3g}" for size, cost in one.medians.items())
        verdict = f"size^{one.exponent:.2f}" + ("" if one.is_right else " **(too much)**")
        lines.append(f"| {one.name} | {one.size} | {cells} | {one.unit} | {verdict} | size^{one.limit:g} |")
    return lines


def _short(size: int) -> str:
    return f"{size / 1e6:g} M" if size >= 1_000_000 else f"{size:,}"


def _panel(one: Series, left: float, top: float) -> list[str]:
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    sizes = sorted(one.costs)
    highest = max(max(values) for values in one.costs.values()) * 1.15
    spans = math.log(sizes[-1] / sizes[0])

    def x(size: int) -> float:
        return left + LEFT + math.log(size / sizes[0]) / spans * width

    def y(cost: float) -> float:
        return top + TOP + height - cost / highest * height

    parts = [
        f'<text x="{left + LEFT}" y="{top + 16}" font-weight="bold">{one.name}</text>',
        f'<text x="{left + LEFT}" y="{top + 31}" fill="#666">{one.unit}, by {one.size}: size^{one.exponent:.2f}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        at = y(highest * share)
        parts.append(f'<line x1="{left + LEFT}" x2="{left + LEFT + width}" y1="{at:.0f}" y2="{at:.0f}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{left + LEFT - 6}" y="{at + 4:.0f}" text-anchor="end" fill="#666">{highest * share:.3g}</text>'
        )
    for size in sizes:
        low, high = y(min(one.costs[size])), y(max(one.costs[size]))
        parts.append(f'<line x1="{x(size):.1f}" x2="{x(size):.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="#7fb3d5"/>')
        parts.append(f'<circle cx="{x(size):.1f}" cy="{y(one.medians[size]):.1f}" r="3.5" fill="#2471a3"/>')
        where = f'x="{x(size):.1f}" y="{top + HEIGHT - BOTTOM + 16}"'
        parts.append(f'<text {where} text-anchor="middle" fill="#666">{_short(size)}</text>')
    points = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in one.medians.items())
    parts.append(f'<polyline points="{points}" fill="none" stroke="#2471a3" stroke-width="2"/>')
    return parts


def picture(series: list[Series]) -> str:
    """Return the costs over their sizes (on a logarithmic scale), a panel each, as SVG."""
    rows = math.ceil(len(series) / COLUMNS)
    size = f"0 0 {WIDTH * COLUMNS} {HEIGHT * rows}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH * COLUMNS}" height="{HEIGHT * rows}" fill="#fff"/>'
    ]
    for number, one in enumerate(series):
        parts += _panel(one, number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT)
    return "\n".join([*parts, "</svg>"])
