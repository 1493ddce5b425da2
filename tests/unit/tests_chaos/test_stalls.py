from __future__ import annotations

import random
import shutil

from copilot_quant.local.processes import services_of
from copilot_quant.local.system import LocalOptions, LocalSystem
from tests.chaos.stalls import ALL, DISK_WRITERS, KINDS, LEADER, LONGEST_S, STANDBY, Report, draw
from tests.support import ROOT


def test_a_seed_gives_the_same_stalls_and_another_seed_others() -> None:
    def several(seed: int) -> list[object]:
        dice = random.Random(seed)
        return [draw(dice) for _ in range(20)]

    assert several(1) == several(1)
    assert several(1) != several(2)


def test_stalls_last_a_second_at_most_and_half_of_them_exactly_that() -> None:
    dice = random.Random(1)
    lengths = [draw(dice).seconds for _ in range(2000)]
    assert max(lengths) == LONGEST_S
    assert 900 < lengths.count(LONGEST_S) < 1100


def test_every_kind_is_drawn() -> None:
    dice = random.Random(1)
    assert {(one.kind, one.targets) for one in (draw(dice) for _ in range(500))} == {kind[:2] for kind in KINDS}


def test_whoever_is_stalled_is_a_process_of_the_local_system() -> None:
    system = LocalSystem(LocalOptions(workers=1), ROOT)
    shutil.rmtree(system.run_dir)
    names = {"redis", ALL, LEADER, STANDBY, *(process.name for process in services_of(system.plan))}
    assert {target for _, targets, _ in KINDS for target in targets} | set(DISK_WRITERS) <= names


def test_a_lease_that_changes_its_epoch_is_lost_once() -> None:
    report = Report(1, "", "", 10.0)
    for epoch in (3, 3, 4, 4):
        report.saw("gateway", epoch)
    assert [line.split(" after")[0] for line in report.lost] == ["gateway: epoch 3 became 4"]
    report.saw("risk", 9)
    assert len(report.lost) == 1
