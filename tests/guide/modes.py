"""Ask what P8 promises, beside the guide's two simulated TWS: each line printed is a question and the answer.

`python -m tests.guide.modes PAPER_PORT LIVE_PORT`; exit status 1 if anything that has to be refused was not.
"""

from __future__ import annotations

import json
import logging
import sys

from copilot_quant.brokers.connection_manager import IBKRConnectionManager
from copilot_quant.brokers.interactive_brokers import IBKRBroker
from shared.errors import Refused


def main() -> int:
    """Ask everything; return the exit status."""
    logging.disable(logging.CRITICAL)
    paper, live = (int(word) for word in sys.argv[1:3])
    answers: list[tuple[str, str]] = []
    for is_paper, port, name in (
        (True, live, "paper session at the live port"),
        (False, paper, "live at the paper port"),
    ):
        manager = IBKRConnectionManager(paper_trading=is_paper, port=port)
        answers.append((name, "" if manager.connect() else manager.last_error))
        manager.disconnect()
    broker = IBKRBroker(paper_trading=False)
    answers.append(("live orders without CQ_MODE=live", "" if broker.connect() else broker.last_error))
    with IBKRConnectionManager(paper_trading=False) as looking:
        try:
            looking.get_ib().reqGlobalCancel()
        except Refused as e:
            answers.append(("an order in a live session", str(e)))
        else:
            answers.append(("an order in a live session", ""))
    for question, refusal in answers:
        print(json.dumps({"question": question, "refusal": refusal}))
    return 0 if all(refusal for _, refusal in answers) else 1


if __name__ == "__main__":
    sys.exit(main())
