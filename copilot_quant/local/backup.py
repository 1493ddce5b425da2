"""Take a backup of a deployment while it runs; put one back while it does not.

A restored deployment knows less than happened, so it **starts halted** and reconciles with the broker before anything:

1. the halt is written into Redis and onto the disks of gateway and guard, dated now: later than any resume;
2. no epoch goes back: the guard keeps the highest of its disk and the backup;
3. the server is another incarnation, so intents and commands of the backup are refused as stale, never sent; what the
   broker shows of orders and executions since its midnight goes onto the bus again, each execution once.

What was there before is moved aside, never deleted.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from copilot_quant.archive import Archive, prefix_of, read_state, wanted_keys, write_archive
from copilot_quant.local.ports import reserve_ports
from copilot_quant.local.redis_process import find_redis, write_redis_config
from copilot_quant.local.system import lock_directory
from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys, Role
from shared.bus.redis_client import RedisBus, open_bus
from shared.clock import SYSTEM_CLOCK, iso_utc, random_token
from shared.errors import BusUnavailable, ConfigError, TimedOut
from shared.messages.control import HaltStage
from shared.settings import BrokerSettings

START_LIMIT_S = 20.0
WHO = "restore"
_ROLES = (Role.GATEWAY, Role.RISK, Role.MARKETDATA)


async def take_backup(settings: BrokerSettings, state_dir: Path, path: Path) -> Archive:
    """Write a backup of a running deployment and return it.

    Raises:
        ConfigError: there is no such deployment in this Redis.
        BusUnavailable: Redis is away.
    """
    keys = settings.keys
    bus = open_bus(settings.redis_url.get_secret_value(), keys, client_name="cq-backup")
    try:
        identity = {name: value.decode() for name, value in (await bus.hash_get_all(keys.identity)).items()}
        if not identity:
            raise ConfigError(f"Redis knows no deployment {keys.deployment!r}: nothing ever started there")
        state = read_state(state_dir, keys.deployment)
        held = await bus.dump_keys(wanted_keys(keys, await bus.scan(f"{prefix_of(keys)}*")))
        epoch = max([int(await bus.get_text(keys.fence(role)) or 0) for role in _ROLES])
    finally:
        await bus.close()
    prefix = prefix_of(keys)
    archive = Archive(
        deployment=keys.deployment,
        identity=identity,
        taken_ns=SYSTEM_CLOCK.wall_ns(),
        epoch=max(epoch, _epoch_in(state.get("guard/epoch.json"))),
        redis={key.removeprefix(prefix): value for key, value in held.items()},
        state=state,
    )
    write_archive(path, archive)
    return archive


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: where the old data went, and the epoch below which nobody may trade."""

    before: Path | None
    epoch: int


async def restore_backup(archive: Archive, settings: BrokerSettings, state_dir: Path) -> Restored:
    """Put a backup in the place of a stopped local deployment's data.

    Raises:
        ConfigError: it runs, or the backup is of another deployment, mode or account (P8).
    """
    _check_identity(archive, settings)
    lock = lock_directory(state_dir)
    try:
        now_ns = SYSTEM_CLOCK.wall_ns()
        data = state_dir / "redis"
        before = None
        if data.exists():
            before = state_dir / f"redis.before-{iso_utc(now_ns)[:19].replace(':', '')}"
            data.rename(before)
        epoch = max(archive.epoch, _epoch_in(read_state(state_dir, archive.deployment).get("guard/epoch.json")))
        reason = f"restored from a backup of {iso_utc(archive.taken_ns)[:19]}: look at the account, then resume"
        _write_state(state_dir, archive, epoch, reason, now_ns)
        await _fill(archive, state_dir, reason, now_ns)
        return Restored(before, epoch)
    finally:
        lock.close()


def _check_identity(archive: Archive, settings: BrokerSettings) -> None:
    wanted = {"mode": settings.mode.value, "account": settings.account}
    found = {name: archive.identity.get(name, "") for name in wanted}
    if archive.deployment != settings.deployment or found != wanted:
        raise ConfigError(
            f"the backup is of deployment {archive.deployment}, {found['mode']} account {found['account']}; "
            f"the settings name {settings.deployment}, {wanted['mode']} account {wanted['account']}: nothing changed"
        )


def _epoch_in(text: str | None) -> int:
    try:
        return int(json.loads(text)["epoch"]) if text else 0
    except (ValueError, LookupError, TypeError):
        return 0  # damaged: the guard itself refuses to start on it


def _write_state(state_dir: Path, archive: Archive, epoch: int, reason: str, now_ns: int) -> None:
    """Write halts dated now onto both disks; the guard's epoch only ever grows."""
    guard_halt = {"is_holding": True, "reason": reason, "who": WHO, "at_ns": now_ns}
    gateway_halt = {
        "is_halted": True, "control_id": "", "who": WHO, "reason": reason, "everything": False, "at_ns": now_ns,
        "epoch": epoch,
    }  # fmt: skip
    _write_json(state_dir / "guard" / "halt.json", guard_halt)
    _write_json(state_dir / "gateway" / f"halt-{archive.deployment}.json", gateway_halt)
    kept = archive.state.get("guard/epoch.json")
    path = state_dir / "guard" / "epoch.json"
    if kept is not None and _epoch_in(kept) >= epoch:
        _write_json(path, json.loads(kept))


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".restored")
    new.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    new.replace(path)


async def _fill(archive: Archive, state_dir: Path, reason: str, now_ns: int) -> None:
    """Start a server on the deployment's data directory for a moment and write the backup into it."""
    keys = Keys(archive.deployment)
    passwords = {role: random_token(24) for role in ROLES}
    port = reserve_ports(1)[0]
    with tempfile.TemporaryDirectory(prefix="cq-restore-") as folder:
        config = write_redis_config(Path(folder), port, acl_lines(keys, passwords), data_dir=state_dir)
        process = await asyncio.to_thread(_start, config)
        bus = open_bus(f"redis://admin:{passwords['admin']}@127.0.0.1:{port}/0", keys, client_name="cq-restore")
        try:
            await _until_up(bus)
            prefix = prefix_of(keys)
            await bus.restore_keys({f"{prefix}{name}": value for name, value in archive.redis.items()})
            halt = {
                "stage": str(HaltStage.REQUESTED), "control_id": "", "who": WHO, "reason": reason, "everything": "0",
                "ts": iso_utc(now_ns),
            }  # fmt: skip
            await bus.hash_set(keys.halt, halt)  # its cursor in `control` stays: what was said before is done
        finally:
            await bus.close()
            process.terminate()  # it writes and syncs its file before it ends
            process.wait(START_LIMIT_S)


def _start(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([find_redis().path, str(config)], stdout=subprocess.DEVNULL)


async def _until_up(bus: RedisBus) -> None:
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(START_LIMIT_S * 1e9)
    while True:
        try:
            await bus.load_functions()
        except BusUnavailable as e:
            if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
                raise TimedOut(f"the server for the restore did not answer within {START_LIMIT_S:g} s: {e}") from e
        else:
            return
        await SYSTEM_CLOCK.sleep(0.05)
