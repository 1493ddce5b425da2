"""ib_async's decoder takes our responses. It cannot be installed beside ib_insync (both ship `eventkit`):

    pip install --target .cache/peers/ib_async ib_async

and this test runs; without it it skips.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.tws import responses as r
from tests.conformance.tws.samples import RESPONSES

PEER = Path(os.environ.get("CQ_PEERS") or ".cache/peers").absolute() / "ib_async"
VERSIONS = (157, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178)
CASES = [(version, message) for version in VERSIONS for message in RESPONSES]


@pytest.mark.skipif(not PEER.is_dir(), reason=f"{PEER} is not there; see this file's first lines")
def test_its_decoder_takes_every_response():
    lines = "".join(f"{version} {r.encode_response(message, version).hex()}\n" for version, message in CASES)
    script = Path(__file__).with_name("ask_ib_async.py")
    done = subprocess.run(
        [sys.executable, "-S", str(script)], input=lines, capture_output=True, text=True, timeout=50,
        env={"PYTHONPATH": str(PEER), "PATH": os.environ["PATH"]}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    complaints = [
        (version, type(message).__name__, calls, texts)
        for (version, message), (calls, texts) in zip(CASES, answers, strict=True)
        if texts or not calls
    ]
    assert not complaints, complaints[:5]
