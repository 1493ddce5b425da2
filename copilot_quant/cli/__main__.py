"""Let `python -m copilot_quant.cli` be `cq`, for where the package's scripts are not installed."""

from __future__ import annotations

from copilot_quant.cli import main

if __name__ == "__main__":
    main()
