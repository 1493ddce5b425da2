"""Install the client libraries that the simulator is tested with, each into a folder of its own.

They are nobody's dependency: they collide with each other (two ship `eventkit`, three ship `ibapi`) and stand under
other licences, so they live in `.cache/peers/<name>` and only processes of the tests see them. Each is pinned with the
hashes of its files in `requirements/peers/<name>.txt`; what a peer shares with us (numpy, tzdata) comes from `.venv`.

Usage: .venv/bin/python -m tools.peers [--bench] [--lock]   install what is missing; or first resolve the pins anew
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "peers"
CACHE = ROOT / ".cache" / "peers"
WANTED = {
    "ib_async": "ib_async==2.1.0",
    "ibapi-latest": "ibapi-latest==10.51.1",
    "ibapi-stable": "ibapi-stable==10.50.2",
    "ibapi-9.81": "ibapi==9.81.1.post1",
}
MEASURED = {
    "backtrader": "backtrader==1.9.78.123",
    "faststream": "faststream[redis]==0.7.8",
    "nautilus_trader": "nautilus_trader==1.221.0",
}
"""Programs that `bench/` measures ours beside; no test needs them."""
OURS = ("numpy", "tzdata")
OPTIONAL = ("ibapi-9.81",)
"""Is built from source, which a machine without a compiler's usual surroundings may refuse."""
HEAD = "# {name}: {what}, apart from our own packages.\n# Written by `python -m tools.peers --lock`.\n"


def stamp_of(name: str) -> str:
    """Return what the marker of a complete installation says."""
    return f"{hashlib.sha256((PINS / f'{name}.txt').read_bytes()).hexdigest()} {sys.version_info[:2]}"


def is_installed(name: str) -> bool:
    """Return whether a peer is there as its pins want it."""
    marker = CACHE / name / ".complete"
    return marker.is_file() and marker.read_text() == stamp_of(name)


def install(name: str) -> str:
    """Install one peer; return pip's complaint, empty if all went well."""
    target = CACHE / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps",
         "--require-hashes", "--target", str(target), "-r", str(PINS / f"{name}.txt")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return done.stderr.strip()[-500:] or f"pip ended with {done.returncode}"
    (target / ".complete").write_text(stamp_of(name))
    return ""


def lock(name: str) -> None:
    """Resolve one peer and write its pins."""
    source, answer = CACHE / f"{name}.in", CACHE / f"{name}.txt"
    CACHE.mkdir(parents=True, exist_ok=True)
    source.write_text((WANTED | MEASURED)[name] + "\n")
    flags = ["--generate-hashes", "--allow-unsafe", "--strip-extras", "--no-header", "--no-annotate", "-q"]
    quiet = ["--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"]
    program = str(Path(sys.executable).with_name("pip-compile"))
    subprocess.run([program, *flags, *quiet, "--output-file", str(answer), str(source)], check=True)
    blocks = re.findall(r"^[a-z].*?(?=^\S|\Z)", answer.read_text(), re.MULTILINE | re.DOTALL)
    what = "a client library that the simulator is tested with"
    if name in MEASURED:
        what = "a program that ours is measured beside"
    kept = [block for block in blocks if not block.startswith(tuple(f"{ours}==" for ours in OURS))]
    (PINS / f"{name}.txt").write_text(HEAD.format(name=name, what=what) + "".join(kept))


def main() -> int:
    """Install what is missing."""
    peers = MEASURED if "--bench" in sys.argv[1:] else WANTED
    if "--lock" in sys.argv[1:]:
        for name in peers:
            lock(name)
    failed = 0
    for name in peers:
        if is_installed(name):
            continue
        print(f"peers: installing {name} into {CACHE.relative_to(ROOT) / name}", flush=True)
        complaint = install(name)
        if complaint:
            print(f"peers: {name} cannot be installed, its tests are skipped: {complaint}", file=sys.stderr)
            failed += name not in OPTIONAL
    # A laptop without a network may go on without them; CI may not.
    return 1 if failed and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
