"""The table of hops: each hop from the one before, several together, and shares of the means that add up."""

from __future__ import annotations

from bench import path


def row(scale: int) -> dict[str, int]:
    """Return an order whose hops took 1, 2, 3 … ms, all times `scale`."""
    at, found = 1_000_000_000, {"cause": 1_000_000_000}
    for number, (_, name) in enumerate(path.HOPS, start=1):
        at += number * scale * 1_000_000
        found[name] = at
    return found


def cells(line: str) -> list[str]:
    """Return a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_hops_and_what_several_take_together_with_their_share_of_the_whole() -> None:
    lines = [cells(line) for line in path.table([row(1), row(1), row(3)])[2:]]
    hops, spans = lines[: len(path.HOPS)], lines[len(path.HOPS) :]
    assert [line[1] for line in hops] == ["1.00", "2.00", "3.00", "4.00", "5.00", "6.00", "7.00"]
    assert hops[0][2] == "3.00" and hops[0][3] == "1.67"
    assert 99 <= sum(int(line[4].rstrip("%")) for line in hops) <= 101
    over_the_bus, to_the_gateway, whole = spans
    assert over_the_bus[1:] == ["7.00", "21.00", "11.67", "25%"]
    assert to_the_gateway[1] == "12.00" and whole[1:] == ["28.00", "84.00", "46.67", "100%"]


def test_the_sentence_takes_each_orders_own_share() -> None:
    text = path.of_risk([row(1), row(1), row(3)])
    assert "p50 7.00 ms, p95 21.00 ms" in text and "p50 25%, p95 25%" in text
