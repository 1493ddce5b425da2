"""Prepare what containers share: `passwords` once, `functions` at each start, and the user's own requirements.

- `passwords` makes one password per Redis role, the ACL file, one URL file per role and the web token, in a volume;
  what is already there is kept.
- `functions` loads the function library into Redis.
- `strategy` installs `requirements.txt` of the mounted strategies folder, if there is one, and becomes a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path

from shared.bus.acl import ROLES, acl_lines
from shared.bus.redis_client import open_bus

from shared.bus.keys import Keys
from shared.clock import random_token
from shared.errors import CqError, ExitCode
from shared.runtime import until_available


def make_passwords(directory: Path, host: str, deployment: str) -> bool:
    """Write the secrets of a deployment into `directory`; return False if they were there already."""
    users = directory / "users.acl"
    if users.exists():
        return False
    passwords = {role: random_token(32) for role in ROLES}
    for role, password in passwords.items():
        _write(directory / f"{role}.url", f"redis://{role}:{password}@{host}:6379/0")
    _write(directory / "web.token", random_token(32))
    _write(users, "\n".join(acl_lines(Keys(deployment), passwords)) + "\n")
    return True


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o444)  # the volume is mounted into our own containers only; each runs as another user


async def load_functions(url: str, deployment: str) -> None:
    """Load the function library, waiting for Redis."""
    bus = open_bus(url, Keys(deployment), client_name="cq-bootstrap")
    try:
        await until_available(bus.load_functions, what="redis")
    finally:
        await bus.close()


def become_strategy_worker(folder: Path, target: Path) -> None:
    """Install the folder's requirements into `target` and replace this process by a strategy worker.

    Raises:
        CqError: the requirements cannot be installed; the worker would fail on import later.
    """
    requirements = folder / "requirements.txt"
    if requirements.is_file() and requirements.read_text().strip():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "--target",
            str(target),
            "-r",
            str(requirements),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            raise CqError(f"{requirements} cannot be installed: see the lines above, mend the file, and start again")
        os.environ["PYTHONPATH"] = str(target)
    os.execv(sys.executable, [sys.executable, "-m", "services.strategy"])  # noqa: S606 - no shell is involved


def main(arguments: list[str] | None = None) -> int:
    """Run one of the three preparations."""
    parser = argparse.ArgumentParser(prog="bootstrap", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    passwords = commands.add_parser("passwords")
    passwords.add_argument("--dir", type=Path, required=True)
    passwords.add_argument("--host", required=True)
    passwords.add_argument("--deployment", required=True)
    functions = commands.add_parser("functions")
    functions.add_argument("--url-file", type=Path, required=True)
    functions.add_argument("--deployment", required=True)
    strategy = commands.add_parser("strategy")
    strategy.add_argument("--folder", type=Path, default=Path("/strategies"))
    strategy.add_argument("--target", type=Path, default=Path.home() / "strategy-packages")
    options = parser.parse_args(arguments)
    try:
        if options.command == "passwords":
            made = make_passwords(options.dir, options.host, options.deployment)
            sys.stdout.write("passwords made\n" if made else "passwords are there already\n")
        elif options.command == "functions":
            asyncio.run(load_functions(options.url_file.read_text().strip(), options.deployment))
            sys.stdout.write("function library loaded\n")
        else:
            become_strategy_worker(options.folder, options.target)
    except (CqError, OSError) as e:
        sys.stderr.write(f"bootstrap: {e}\n")
        return int(ExitCode.FAILED)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
