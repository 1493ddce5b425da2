"""Write `tests/tidy/untested.txt` anew from the tree: run it after adding tests, never to hide a new module.

Reasons already given are kept. Usage: .venv/bin/python -m tools.ratchet
"""

from __future__ import annotations

from tests.tidy.test_repository import RATCHET, listed, modules_without_test

HEAD = """# Modules that no test imports or is named after; the list may only shrink (python -m tools.ratchet).
# A line: path  # what tests it meanwhile, or why it needs none
"""


def main() -> None:
    """Write the list and say how long it is."""
    reasons = listed(RATCHET) if RATCHET.exists() else {}
    rows = [f"{name}  # {reasons[name]}" if reasons.get(name) else name for name in modules_without_test()]
    RATCHET.write_text(HEAD + "".join(f"{row}\n" for row in rows))
    print(f"{RATCHET.name}: {len(rows)} modules without a test")


if __name__ == "__main__":
    main()
