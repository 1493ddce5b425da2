"""Prepare what containers share, each in a one-shot container, and start the guard at the right broker.

- `passwords` makes what is missing of: one Redis password per role (as a URL file), the web and guard tokens; and
  writes the ACL file anew, since a release may change what a role may do. Each file can be read by its role only.
- `functions` loads the function library into Redis.
- `packages` installs `requirements.txt` of the mounted strategies folder, if there is one.
- `guard` becomes the guard, in front of the broker that belongs to `CQ_MODE`.
- `owner` gives a new volume to the user of another image.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.clock import random_token
from shared.errors import CqError, ExitCode
from shared.runtime import until_available

GROUPS: Mapping[str, int] = {
    "admin": 10010,
    "gateway": 10011,
    "risk": 10012,
    "marketdata": 10013,
    "strategy": 10014,
    "monitoring": 10015,
    "operator": 10016,
    "guard": 10017,
}
"""Group of each role inside containers (`user:` in docker-compose.yml): strategies, which run code of the user,
cannot read the password with which risk writes `commands` (P1)."""
TOKENS: Mapping[str, str] = {"web.token": "monitoring", "guard.token": "guard"}
BROKERS: Mapping[str, tuple[str, str]] = {
    "sim": ("simulator", "4102"),
    "paper": ("ib-gateway-paper", "4004"),  # IB Gateway itself listens on 4002 and accepts its own container only;
    "live": ("ib-gateway-live", "4003"),  # the image forwards these two
}


def make_passwords(directory: Path, host: str, deployment: str) -> list[str]:
    """Write the secrets of a deployment into `directory`; return the names of the files that were missing."""
    made: list[str] = []
    passwords: dict[str, str] = {}
    for role in ROLES:
        path = directory / f"{role}.url"
        if not path.exists():
            _write(path, f"redis://{role}:{random_token(32)}@{host}:6379/0", role)
            made.append(path.name)
        passwords[role] = urlsplit(path.read_text().strip()).password or ""
    for name, role in TOKENS.items():
        if not (directory / name).exists():
            _write(directory / name, random_token(32), role)
            made.append(name)
    _write(directory / "users.acl", "\n".join(_hashed(acl_lines(Keys(deployment), passwords), passwords)) + "\n", None)
    return made


def _hashed(lines: list[str], passwords: Mapping[str, str]) -> list[str]:
    """Return ACL lines with hashes in the place of passwords: every container may then read the file."""
    text = "\n".join(lines)
    for password in passwords.values():
        text = text.replace(f" >{password} ", f" #{hashlib.sha256(password.encode()).hexdigest()} ")
    return text.split("\n")


def _write(path: Path, text: str, role: str | None) -> None:
    """Write a file whole or not at all, readable by the group of `role` (None: by all)."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    if role is not None and os.geteuid() == 0:
        os.chown(new, 0, GROUPS[role])
    new.chmod(0o444 if role is None else 0o440)
    new.replace(path)


async def load_functions(url: str, deployment: str) -> None:
    """Load the function library, waiting for Redis."""
    bus = open_bus(url, Keys(deployment), client_name="cq-bootstrap")
    try:
        await until_available(bus.load_functions, what="redis")
    finally:
        await bus.close()


def install_packages(folder: Path, target: Path) -> str:
    """Install the folder's requirements into `target`, unless they are there; return a sentence on what was done.

    What the image has keeps its version (a constraint), so a strategy cannot change what a worker runs on.

    Raises:
        CqError: the requirements cannot be installed; the worker would fail on import later.
    """
    requirements = folder / "requirements.txt"
    wanted = requirements.read_text() if requirements.is_file() else ""
    ours = "".join(sorted(f"{each.name}=={each.version}\n" for each in metadata.distributions(path=_own_path(target))))
    mark = hashlib.sha256(f"{wanted}\0{ours}{sys.version}".encode()).hexdigest()
    stamp = target / ".installed"
    if stamp.is_file() and stamp.read_text() == mark:
        return "packages are there already"
    fresh = target / ".fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if any(line.split("#")[0].strip() for line in wanted.splitlines()):
        constraints = fresh / ".constraints.txt"
        constraints.write_text(ours)
        command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-input", "--target", str(fresh)]
        command += ["-c", str(constraints), "-r", str(requirements)]
        if subprocess.run(command, check=False).returncode != 0:
            raise CqError(f"{requirements} cannot be installed: see the lines above, mend the file, and start again")
    for old in target.iterdir():  # only now: a mistake in the file leaves running workers what they had
        if old != fresh:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for new in fresh.iterdir():
        new.rename(target / new.name)
    fresh.rmdir()
    stamp.write_text(mark)
    return f"packages of {requirements} installed" if wanted.strip() else "no packages wanted"


def _own_path(target: Path) -> list[str]:
    return [entry for entry in sys.path if entry and Path(entry).resolve() != target.resolve()]


def guard_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return the guard's upstream for the mode in `env`, where `env` names none.

    Raises:
        CqError: only half of an address is given, or the mode is unknown.
    """
    host, port, mode = (env.get(name, "") for name in ("GUARD_UPSTREAM_HOST", "GUARD_UPSTREAM_PORT", "CQ_MODE"))
    if host and port:
        return {}
    if host or port:
        raise CqError("CQ_BROKER_HOST and CQ_BROKER_PORT belong together: set both, or none for the mode's own broker")
    if mode not in BROKERS:
        raise CqError(f"CQ_MODE: {mode!r} is none of {', '.join(BROKERS)}")
    return dict(zip(("GUARD_UPSTREAM_HOST", "GUARD_UPSTREAM_PORT"), BROKERS[mode], strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bootstrap", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    passwords = commands.add_parser("passwords")
    passwords.add_argument("--dir", type=Path, required=True)
    passwords.add_argument("--host", required=True)
    passwords.add_argument("--deployment", required=True)
    functions = commands.add_parser("functions")
    functions.add_argument("--url-file", type=Path, required=True)
    functions.add_argument("--deployment", required=True)
    packages = commands.add_parser("packages")
    packages.add_argument("--folder", type=Path, default=Path("/strategies"))
    packages.add_argument("--target", type=Path, default=Path("/packages"))
    commands.add_parser("guard")
    owner = commands.add_parser("owner")
    owner.add_argument("--dir", type=Path, required=True)
    owner.add_argument("--uid", type=int, required=True)
    return parser


def _do(options: argparse.Namespace) -> str:
    if options.command == "passwords":
        made = make_passwords(options.dir, options.host, options.deployment)
        return f"made {', '.join(made)}" if made else "passwords are there already"
    if options.command == "functions":
        asyncio.run(load_functions(options.url_file.read_text().strip(), options.deployment))
        return "function library loaded"
    if options.command == "packages":
        return install_packages(options.folder, options.target)
    if options.command == "owner":
        os.chown(options.dir, options.uid, options.uid)
        return f"{options.dir} belongs to {options.uid}"
    os.environ.update(guard_env(os.environ))
    return os.execv(sys.executable, [sys.executable, "-m", "services.guard"])  # noqa: S606 - no shell is involved


def main(arguments: list[str] | None = None) -> int:
    """Run one of the preparations; print what was done."""
    options = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{_do(options)}\n")
    except (CqError, OSError) as e:
        sys.stderr.write(f"bootstrap: {e}\n")
        return int(ExitCode.FAILED)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
