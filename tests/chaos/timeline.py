"""Draw a run as a picture: a lane for each place where something went wrong, who led, and how orders and fills flowed.

SVG by hand: it opens in every browser, needs no library, and a person can read the numbers in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, LANE, PLOT = 1400, 110, 26, 90
COLOURS = {
    "gateway": "#c0392b", "risk": "#8e44ad", "others": "#7f8c8d", "guard": "#d35400", "redis": "#b7950b",
    "network": "#2471a3", "broker": "#117a65",
}  # fmt: skip
LEADERS = ("#27ae60", "#2980b9", "#f39c12", "#95a5a6")


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasted, in seconds after the start of the run."""

    lane: str
    from_s: float
    to_s: float
    text: str


def per_second(times_s: Sequence[float], seconds: int) -> list[int]:
    """Count events into whole seconds of a run."""
    counts = [0] * max(1, seconds)
    for at in times_s:
        if 0 <= at < len(counts):
            counts[int(at)] += 1
    return counts


def draw(seconds: float, faults: Sequence[Bar], leaders: Sequence[Bar], flows: Mapping[str, Sequence[float]]) -> str:
    """Return the picture.

    Args:
        seconds: length of the run.
        faults: what went wrong, by place.
        leaders: who led and was READY, `text` being the gateway.
        flows: times of events by name, drawn as counts per second.
    """
    scale = (WIDTH - LEFT - 10) / max(1.0, seconds)
    lanes = [lane for lane in COLOURS if any(bar.lane == lane for bar in faults)]
    height = 30 + (len(lanes) + 1) * LANE + len(flows) * PLOT + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    step = next(one for one in (5, 10, 30, 60, 120, 300, 600, 1800) if seconds / one <= 24 or one == 1800)
    for at in range(0, int(seconds) + 1, step):
        x = LEFT + at * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{height - 20}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.1f}" y="14" text-anchor="middle" fill="#888">{at} s</text>')
    y = 26
    parts.append(_label("READY", y))
    names = sorted({bar.text for bar in leaders})
    for bar in leaders:
        parts.append(_rect(bar, y, LEADERS[min(names.index(bar.text), len(LEADERS) - 1)], scale, 0.8))
    for lane in lanes:
        y += LANE
        parts.append(_label(lane, y))
        parts += [_rect(bar, y, COLOURS[lane], scale, 0.55) for bar in faults if bar.lane == lane]
    y += LANE + 8
    for name, times in flows.items():
        counts = per_second(times, int(seconds) + 1)
        top = max(1, *counts)
        points = " ".join(
            f"{LEFT + (at + 0.5) * scale:.1f},{y + PLOT - 20 - count / top * (PLOT - 30):.1f}"
            for at, count in enumerate(counts)
        )
        parts.append(_label(f"{name}/s", y + PLOT / 2 - 10))
        parts.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end" fill="#888">{top}</text>')
        parts.append(f'<polyline points="{points}" fill="none" stroke="#34495e" stroke-width="1"/>')
        y += PLOT
    parts.append("</svg>")
    return "\n".join(parts)


def _label(text: str, y: float) -> str:
    return f'<text x="{LEFT - 8}" y="{y + 14:.0f}" text-anchor="end">{escape(text)}</text>'


def _rect(bar: Bar, y: float, colour: str, scale: float, opacity: float) -> str:
    width = max(2.0, (bar.to_s - bar.from_s) * scale)
    title = f"{bar.from_s:.1f} s to {bar.to_s:.1f} s: {bar.text}"
    return (
        f'<rect x="{LEFT + bar.from_s * scale:.1f}" y="{y}" width="{width:.1f}" height="{LANE - 6}" fill="{colour}" '
        f'opacity="{opacity}"><title>{escape(title)}</title></rect>'
    )
