from __future__ import annotations

import asyncio

import pytest

from shared.errors import BadInput, BusUnavailable, ConfigError, CqError, ExitCode, InvariantBroken
from shared.runtime import run, side_by_side, until_available
from shared.settings import CommonSettings


async def test_what_is_away_is_asked_for_until_it_is_there() -> None:
    tries: list[int] = []

    async def third_time() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise BusUnavailable("not yet")
        return "there"

    assert await until_available(third_time, what="redis", longest_s=0.01) == "there"
    assert len(tries) == 3


async def test_what_is_wrong_is_not_asked_for_again() -> None:
    tries: list[int] = []

    async def wrong() -> None:
        tries.append(1)
        raise BadInput("no such thing")

    with pytest.raises(BadInput):
        await until_available(wrong, what="redis", longest_s=0.01)
    assert len(tries) == 1


@pytest.mark.parametrize(
    "error, status",
    [
        (None, None),
        (ConfigError("a file is missing"), ExitCode.CONFIG),
        (BusUnavailable("away"), ExitCode.UNAVAILABLE),
        (InvariantBroken("a bug"), ExitCode.INTERNAL),
        (ZeroDivisionError("a bug"), ExitCode.INTERNAL),
        (ExceptionGroup("loops", [CqError("one of them")]), ExitCode.FAILED),
        (ExceptionGroup("loops", [ExceptionGroup("inner", [KeyError("x")])]), ExitCode.INTERNAL),
        (KeyboardInterrupt(), ExitCode.OK),
    ],
)
def test_each_end_has_its_exit_status(
    monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: ExitCode | None
) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")

    async def main(settings: CommonSettings) -> None:
        assert settings.mode == "sim"
        if error is not None:
            raise error

    if status is None:
        run("toy", CommonSettings, main)
        return
    with pytest.raises(SystemExit) as ended:
        run("toy", CommonSettings, main)
    assert ended.value.code == status


def test_wrong_settings_refuse_the_start_and_name_each_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CQ_MODE", "rehearsal")
    monkeypatch.setenv("CQ_LEASE_TTL_S", "-1")

    async def main(settings: CommonSettings) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(SystemExit) as ended:
        run("toy", CommonSettings, main)
    assert ended.value.code == ExitCode.CONFIG
    said = capsys.readouterr().err
    assert "CQ_MODE" in said and "CQ_LEASE_TTL_S" in said


def test_a_mistake_found_at_the_start_is_a_sentence_for_a_person_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")

    async def main(_: CommonSettings) -> None:
        raise ConfigError("SIM_REPLAY: day.csv, line 20, column 15: kind must be Q or T")

    with pytest.raises(SystemExit):
        run("toy", CommonSettings, main)
    assert "toy: SIM_REPLAY: day.csv, line 20, column 15: kind must be Q or T" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_is_kept_that_comes_while_a_loop_fails(turns: int) -> None:
    """A task group loses it from the turn in which it has been told of the failure until its last part is over."""
    failing = asyncio.Event()

    async def fails() -> None:
        await failing.wait()
        raise BusUnavailable("away")

    async def ends_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)

    async def owner() -> str:
        try:
            await side_by_side({"fails": fails, "slow": ends_slowly})
        except* BusUnavailable:
            pass
        return "went on"

    task = asyncio.get_running_loop().create_task(owner())
    await asyncio.sleep(0.01)
    failing.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_the_first_failure_ends_the_others_and_all_that_failed_is_told() -> None:
    ended: list[str] = []

    async def fails() -> None:
        raise BadInput("no")

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def is_done() -> None:
        ended.append("done")

    with pytest.raises(ExceptionGroup) as told:
        await side_by_side({"other": goes_on, "done": is_done, "fails": fails})
    assert [str(each) for each in told.value.exceptions] == ["no"] and ended == ["done", "other"]
    await side_by_side({"done": is_done})
