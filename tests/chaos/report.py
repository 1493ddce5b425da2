"""Write what a run showed, as JSON for scripts and as a page for people."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from tests.chaos.checker import Findings
from tests.proofs.record import Row

CHECKS = {
    "duplicates": "orderRefs with more than one order at the broker (P2)",
    "lost_fills": "executions of the broker that `fills` does not show (P3)",
    "fills_twice": "executions published twice, or unknown to the broker (P3)",
    "unapproved": "orders at the broker without an approval of risk (P1)",
    "unended": "intents without an outcome after the end (P4)",
    "epoch_order": "entries of an older epoch after one of a newer (P5)",
    "positions": "positions that differ, or books that do not add up (P11)",
    "cash": "cash that differs",
    "dead_letters": "entries that nobody could read or handle",
}


@dataclass
class Report:
    """One run."""

    seed: int
    seconds: float
    every_s: float
    command: str
    machine: str
    lease_s: float = 0.0
    commit: str = ""
    began: str = ""
    faults: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    broker: dict[str, int] = field(default_factory=dict)
    bus: dict[str, int] = field(default_factory=dict)
    lost_by_broker: int = 0
    """Orders that the broker had shown and then lost (TWS' restart): they stay visibly `unknown` (P4)."""
    takeovers: int = 0
    ready_share: float = 0.0
    settled_s: float = 0.0
    findings: dict[str, list[str]] = field(default_factory=dict)
    is_clean: bool = False

    def judge(self, findings: Findings) -> None:
        """Take the checker's findings; a run in which nothing was filled proves nothing."""
        self.findings = asdict(findings)
        self.is_clean = findings.is_clean and self.broker.get("executions", 0) > 0

    def row(self) -> Row:
        """Return what the record keeps of the run; no findings, and no count, mean that it was not judged."""
        return {
            "proof": "chaos", "began": self.began, "commit": self.commit, "seconds": self.seconds, "seed": self.seed,
            "lease_s": self.lease_s, "faults": len(self.faults),
            "not_carried_out": sum(one["is_error"] for one in self.faults), "orders": self.broker.get("orders", 0),
            "executions": self.broker.get("executions", 0), "takeovers": self.takeovers,
            "lost_by_broker": self.lost_by_broker,
            "findings": {name: len(found) for name, found in self.findings.items()}, "is_clean": self.is_clean,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """Return the report in lines."""
        by_name = Counter(one["name"] for one in self.faults)
        failed = [one for one in self.faults if one["is_error"]]
        return [
            f"seed {self.seed}, {self.seconds:g} s: {len(self.faults)} faults, {len(failed)} of them could not be "
            "carried out",
            "  " + ", ".join(f"{name} {count}" for name, count in by_name.most_common()),
            "asked: " + ", ".join(f"{name} {count}" for name, count in self.asked.items()),
            "broker: " + ", ".join(f"{name} {count}" for name, count in self.broker.items()),
            "bus: " + ", ".join(f"{name} {count}" for name, count in self.bus.items()),
            f"orders that the broker itself lost, visibly unknown: {self.lost_by_broker}",
            f"take-overs {self.takeovers}; READY {self.ready_share:.0%} of the time; settled after "
            f"{self.settled_s:.1f} s",
            *(f"{name.replace('_', ' ')}: {len(found)}" for name, found in self.findings.items()),
            *(f"  {name}: {line}" for name, found in self.findings.items() for line in found[:8]),
            "clean" if self.is_clean else "NOT CLEAN",
        ]

    def write(self, folder: Path, picture: str) -> Path:
        """Write `report.json`, `timeline.svg` and `report.html`; return the page."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=1))
        (folder / "timeline.svg").write_text(picture)
        page = folder / "report.html"
        page.write_text(self._page(picture))
        return page

    def _page(self, picture: str) -> str:
        verdict = "nothing is wrong" if self.is_clean else "SOMETHING IS WRONG"
        checks = "".join(
            f"<tr><td>{escape(text)}</td><td class={'ok' if not self.findings.get(name) else 'bad'}>"
            f"{len(self.findings.get(name, []))}</td></tr>"
            for name, text in CHECKS.items()
        )
        details = "".join(
            f"<h3>{escape(name)}</h3><pre>{escape(chr(10).join(found[:50]))}</pre>"
            for name, found in self.findings.items()
            if found
        )
        numbers = "".join(
            f"<tr><td>{escape(title)}</td><td>{escape(', '.join(f'{k} {v}' for k, v in values.items()))}</td></tr>"
            for title, values in (("asked for", self.asked), ("at the broker", self.broker), ("on the bus", self.bus))
        )
        rows = "".join(
            f"<tr><td>{one['at_s']:.1f}</td><td>{escape(one['place'])}</td><td>{escape(one['name'])}</td>"
            f"<td>{escape(one['target'])}</td><td>{escape(json.dumps(one['parameters']))}</td>"
            f"<td>{one['lasted_s']:.2f}</td><td>{escape(str(one['note']))}</td></tr>"
            for one in self.faults
        )
        return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Chaos run, seed {self.seed}</title>
<style>body{{font:14px sans-serif;margin:2em;max-width:1400px}}td,th{{padding:2px 10px;text-align:left}}
.ok{{color:#117a65;font-weight:bold}}.bad{{color:#c0392b;font-weight:bold}}
svg{{width:100%;border:1px solid #ddd}}</style>
<h1>Chaos run, seed {self.seed}: {verdict}</h1>
<p>{len(self.faults)} faults in {self.seconds:g} s on {escape(self.machine)}; {self.takeovers} take-overs; READY
{self.ready_share:.0%} of the time; settled {self.settled_s:.1f} s after the last fault.
Orders that the broker had shown and then lost in a restart of its own, and which stay visibly unknown:
{self.lost_by_broker}. Again:
<code>{escape(self.command)}</code></p>
{picture}
<h2>What the checker found</h2><table>{checks}</table>{details}
<h2>Numbers</h2><table>{numbers}</table>
<h2>Faults</h2><table><tr><th>s</th><th>place</th><th>fault</th><th>on</th><th>with</th>
<th>lasted (s)</th><th></th></tr>
{rows}</table></html>
"""
