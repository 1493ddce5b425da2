from __future__ import annotations

import ast

import pytest

from tests.guide.extract import Kind, blocks_of, borrowed, commands_of, endless_lines, is_live, kind_of, settings_of

GUIDE = """\
# A guide

## First

```python
import json
from pathlib import Path as P

x = 1
```

Expected output:
```
1
```

1. In a list:
   ```bash
   # a comment
   cp a b
   IB_PAPER_PORT=7497   # TWS
   ```

## Second

### Part

```python
while True:
    P(x)
```
"""


def test_blocks_have_language_section_title_and_line() -> None:
    found = [(block.language, block.section, block.title, block.line, block.lead) for block in blocks_of(GUIDE)]
    assert found == [
        ("python", "First", "First", 5, "## First"),
        ("", "First", "First", 13, "Expected output:"),
        ("bash", "First", "First", 18, "1. In a list:"),
        ("python", "Second", "Part", 28, "### Part"),
    ]


def test_an_indented_block_loses_its_indent_and_is_read_line_by_line() -> None:
    block = blocks_of(GUIDE)[2]
    assert settings_of(block) == "IB_PAPER_PORT=7497   # TWS\n"
    assert [(command.text, command.line) for command in commands_of(block)] == [("cp a b", 20)]


def test_a_block_that_is_not_closed_is_said() -> None:
    with pytest.raises(ValueError, match="line 3"):
        blocks_of("# a\n\n```python\nx = 1\n")


def test_a_section_borrows_only_what_a_section_above_imported() -> None:
    assert borrowed(blocks_of(GUIDE)) == {1: [], 4: ["from pathlib import Path as P"]}
    ast.parse(borrowed(blocks_of(GUIDE))[4][0])


@pytest.mark.parametrize(
    "code, lines",
    [
        ("while True:\n    pass\n", range(1, 3)),
        ("x = 1\ntry:\n    while True:\n        x += 1\nexcept KeyboardInterrupt:\n    pass\n", range(3, 5)),
        ("while True:\n    break\n", None),
        ("while x:\n    pass\n", None),
    ],
)
def test_an_endless_loop_is_one_that_nothing_in_it_ends(code: str, lines: range | None) -> None:
    assert endless_lines(code) == lines


def test_a_live_block_is_known() -> None:
    assert is_live("Broker(paper_trading = False)") and not is_live("Broker(paper_trading=True)")


@pytest.mark.parametrize(
    "command, kind",
    [
        ("sudo systemctl start ibgateway", Kind.CHECK),
        ("netstat -an | grep 7497", Kind.CHECK),
        ("launchctl load x.plist", Kind.CHECK),
        ("tail -f ibkr.log", Kind.ENDLESS),
        ("python examples/run_live_strategy.py", Kind.ENDLESS),
        (".venv/bin/cq up", Kind.ENDLESS),
        ("python examples/test_ibkr_connection.py", Kind.RUN),
    ],
)
def test_what_is_done_with_a_command(command: str, kind: Kind) -> None:
    assert kind_of(command) is kind
