"""A backup of one deployment in one file: what Redis knows of its order flow, and what gateway and guard keep on disk.

The file is a gzipped tar: `manifest.json` (whose it is, when, a checksum of every part), `redis.msgpack` (keys without
the deployment's prefix, as DUMP writes them) and `state/…`. Prices are left out: they are old when they are read.

Reading checks everything before anything is used; an archive that is damaged, of another deployment or of a later
format is refused whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from shared.bus.keys import Keys
from shared.clock import iso_utc
from shared.errors import ConfigError

FORMAT = 1
MANIFEST, REDIS, STATE = "manifest.json", "redis.msgpack", "state/"
LEFT_OUT = ("ticks:", "bars:", "last:", "heartbeat:", "answers:", "lease:")
"""Prices, signs of life, answers nobody waits for, and leases: they are void in another server anyway."""
STATE_FILES = ("guard/epoch.json", "guard/halt.json", "gateway/halt-{deployment}.json")
MAX_BYTES = 4 << 30
Held = Mapping[str, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Archive:
    """One backup. `redis` is by key without prefix; `state` is by path below the state directory."""

    deployment: str
    identity: Mapping[str, str]
    taken_ns: int
    epoch: int
    redis: Held
    state: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return what it is in a few words."""
        return f"{self.deployment}, taken {iso_utc(self.taken_ns)}, {len(self.redis)} keys, {len(self.state)} files"


def wanted_keys(keys: Keys, found: list[str]) -> list[str]:
    """Return the keys of a deployment that belong into a backup."""
    prefix = prefix_of(keys)
    return [key for key in found if key.startswith(prefix) and not key[len(prefix) :].startswith(LEFT_OUT)]


def prefix_of(keys: Keys) -> str:
    """Return what every key of a deployment begins with."""
    return f"cq:{keys.deployment}:"


def read_state(directory: Path, deployment: str) -> dict[str, str]:
    """Return the state files that are there."""
    found = {}
    for pattern in STATE_FILES:
        name = pattern.format(deployment=deployment)
        try:
            found[name] = (directory / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue  # a deployment without a guard, or before its first leader
    return found


def write_archive(path: Path, archive: Archive) -> None:
    """Write an archive whole or not at all, readable by its owner only (account and orders are in it)."""
    held = {name: [life_ms, content] for name, (life_ms, content) in archive.redis.items()}
    parts = {REDIS: msgpack.packb(held), **{f"{STATE}{name}": text.encode() for name, text in archive.state.items()}}
    manifest = {
        "format": FORMAT,
        "deployment": archive.deployment,
        "identity": dict(archive.identity),
        "taken_ns": archive.taken_ns,
        "taken": iso_utc(archive.taken_ns),
        "epoch": archive.epoch,
        "parts": {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()},
    }
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name, content in {MANIFEST: json.dumps(manifest, indent=1).encode(), **parts}.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = len(content), archive.taken_ns // 10**9, 0o600
                tar.addfile(entry, io.BytesIO(content))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read_archive(path: Path) -> Archive:
    """Return a backup.

    Raises:
        ConfigError: it cannot be read, is damaged or of a later format.
    """
    try:
        with tarfile.open(path, mode="r:gz") as tar:
            parts = {entry.name: _content(tar, entry) for entry in tar if entry.isfile()}
        manifest = json.loads(parts.pop(MANIFEST))
        if manifest["format"] != FORMAT:
            raise ConfigError(f"{path}: format {manifest['format']}; this release reads format {FORMAT}")
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
        if sums != manifest["parts"]:
            raise ConfigError(f"{path} is damaged: its parts are not those that were written")
        held = msgpack.unpackb(parts[REDIS])
        allowed = {f"{STATE}{name.format(deployment=manifest['deployment'])}" for name in STATE_FILES}
        return Archive(
            deployment=str(manifest["deployment"]),
            identity={str(name): str(value) for name, value in manifest["identity"].items()},
            taken_ns=int(manifest["taken_ns"]),
            epoch=int(manifest["epoch"]),
            redis={str(name): (int(life_ms), bytes(content)) for name, (life_ms, content) in held.items()},
            state={name.removeprefix(STATE): parts[name].decode() for name in sorted(allowed & parts.keys())},
        )
    except (OSError, EOFError, tarfile.TarError, ValueError, LookupError, TypeError, AttributeError) as e:
        raise ConfigError(f"{path} cannot be read as a backup ({type(e).__name__}: {e})") from e


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    if entry.size > MAX_BYTES:
        raise ValueError(f"{entry.name} claims {entry.size} bytes")
    file = tar.extractfile(entry)
    return file.read() if file is not None else b""
