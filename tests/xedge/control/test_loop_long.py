"""The loop for long: a thousand bags with the clock accelerated, and sixty in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.xedge.control.test_loop import (
    DIVERTER,
    LINE_NS,
    PATIENCE_S,
    QUICK,
    RULE,
    Belt,
    Conveyor,
    Fault,
    both,
    impatient,
    modbus_faults,
    opcua_faults,
    run_loop,
)
from xedge.control.board import new_epoch
from xedge.control.image import LaneState
from xedge.control.link import Link
from xedge.control.simplc import BeltClock, Diverted, SimPlc
from xedge.engines.fake import around_dense_matter
from xedge.lane import LaneConfig, run_lane
from xedge.sim.belt import SimulatedBelt
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import U8, Decision, Detections, Scan, Strip, Verdict


class Endless:
    """The same simulated bags over and over; counters, encoder and time go on."""

    def __init__(self, belt: SimulatedBelt, rounds: int) -> None:
        self._strips, self._rounds = list(belt), rounds
        last = self._strips[-1]
        self._lines = last.first_line + len(last)
        self._round_ns = last.captured_ns
        once = [(bag.first_line, bag.last_line) for bag in belt.truth_so_far]
        self.extents = [
            (head + turn * self._lines, tail + turn * self._lines)
            for turn in range(rounds)
            for head, tail in once
        ]

    def __iter__(self) -> Iterator[Strip]:
        for turn in range(self._rounds):
            lines = turn * self._lines
            for strip in self._strips:
                yield Strip(strip.first_line + lines, strip.encoder + lines, strip.low, strip.high,
                            strip.captured_ns + turn * self._round_ns)  # fmt: skip


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_a_thousand_bags_over_modbus_and_opcua_with_faults_on_both(
    modbus_behind_proxy: tuple[Any, Any],
    opcua_behind_proxy: tuple[Any, Any],
    record_property: Callable[[str, object], None],
) -> None:
    """Twenty bags of the simulator, fifty times, before a detector that finds at random."""
    one = modbus_faults(0, *modbus_behind_proxy)
    rig, proxy = opcua_behind_proxy
    other = {name: impatient(rig, fault) for name, fault in opcua_faults(1, rig, proxy).items()}
    faults = [*one.values(), *other.values(), both(one["refused"], other["refused"]),
              both(one["power"], other["restart"])]  # fmt: skip
    scanner = ScannerModel()
    belt = Endless(SimulatedBelt(5, 20, 0.5, scanner=scanner), 50)
    in_turn = [faults[number % len(faults)] for number in range(25)]
    heads = {belt.extents[20 + 40 * n - 1][0]: fault for n, fault in enumerate(in_turn)}
    outcome = run_loop(
        [modbus_behind_proxy[0], rig], belt, flat_field(scanner, 5, 5),
        belt.extents, LaneConfig(deadline_counts=10**6, bag_limit_s=3600), found_by_chance, heads,
    )  # fmt: skip
    assert len(belt.extents) == 1000
    assert [fault for fault, _, _ in outcome.conveyor.disturbed] == in_turn
    outcome.check(belt.extents)
    clear = sum(d.verdict is Verdict.CLEAR for d in outcome.decisions)
    for number, gone in enumerate(outcome.conveyor.gone):
        # Of 25 faults a PLC has sixteen at most, and each costs a handful of bags.
        passed = sum(bag.passed for bag in gone)
        assert passed > clear // 2
        record_property(f"plc {number}", f"{passed} of {clear} CLEAR let through")


@pytest.mark.full
@pytest.mark.timeout(600)
def test_sixty_bags_in_real_time_over_modbus_and_opcua_with_faults_on_both(
    modbus_behind_proxy: tuple[Any, Any],
    opcua_behind_proxy: tuple[Any, Any],
    record_property: Callable[[str, object], None],
) -> None:
    """The belt waits for nobody: a fault lasts a second and a half, every eight seconds.

    The limits are those of real life: both ends take the other for silent after a second.
    """
    belt, decisions, done = Belt(60), list[Decision](), threading.Event()
    suffered: list[Fault] = []
    clock = BeltClock(1e9 / LINE_NS, time.monotonic)
    rigs = [modbus_behind_proxy[0], opcua_behind_proxy[0]]
    plcs = [SimPlc(rig.port, belt.extents, DIVERTER) for rig in rigs]
    limits = replace(QUICK, plc_limit_s=1.0, beat_s=0.1, poll_s=0.01)
    gone: list[list[Diverted]] = [[], []]
    rigs[1].port.options = replace(rigs[1].port.options, timeout_s=1.0)
    modbus = modbus_faults(0, *modbus_behind_proxy)
    opcua = opcua_faults(1, *opcua_behind_proxy)
    # Not the power of a PLC: here it scans in a thread of its own, which owns its port.
    faults = [
        both(modbus["refused"], opcua["slow"]), opcua["stalled"], modbus["stalled"],
        opcua["restart"], both(modbus["reset"], opcua["reset"]), opcua["refused"],
    ]  # fmt: skip

    def scan(number: int) -> None:
        while not plcs[number].done:
            gone[number] += plcs[number].scan(clock.encoder, Conveyor.now_ms())
            time.sleep(0.005)

    def disturb() -> None:
        for fault in faults:
            if done.wait(6.0):
                return
            fault.switch(True)
            done.wait(1.5)
            fault.switch(False)
            suffered.append(fault)

    def strips() -> Iterator[Strip]:
        clock.start()
        yield from belt

    epoch = new_epoch()
    with ExitStack() as stack:
        links = [stack.enter_context(Link(rig.bus, limits, epoch)) for rig in rigs]
        for link in links:
            link.set_state(LaneState.RUNNING)
        threads = [threading.Thread(target=scan, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for link in links:
            assert link.wait_heard(PATIENCE_S)
        disturber = threading.Thread(target=disturb)
        disturber.start()

        def publish(decision: Decision, scan: Scan | None) -> None:
            decisions.append(decision)
            for link in links:
                link.publish(decision)

        report = run_lane(strips(), around_dense_matter, belt.flat_field, LaneConfig(),
                          realtime=True, on_decision=publish)  # fmt: skip
        for thread in threads:
            thread.join()
        done.set()
        disturber.join()
    # A server that starts anew holds the interpreter up, on a busy machine for seconds.
    assert [error for error in report.errors if " was silent for " not in error] == []
    assert report.ledger.balanced
    every = list(range(1, 61))
    decided = {d.bag: d for d in decisions}
    lost = report.ledger.missing_lines + sum(report.ledger.refused_lines.values())
    # A machine that cannot keep up loses lines, and says so: bags are then missing or cut.
    assert lost or list(decided) == every
    assert suffered == faults
    clear = sum(d.verdict is Verdict.CLEAR for d in decisions)
    for number, bags in enumerate(gone):
        assert [bag.number for bag in bags] == every
        passed = [bag for bag in bags if bag.passed]
        for bag in passed:
            decision = decided[bag.bag]
            assert decision.verdict is Verdict.CLEAR
            assert bag.number not in belt.alarms
            assert abs(decision.encoder_head - bag.head) <= RULE.extent_counts
            assert abs(decision.encoder_tail - bag.tail) <= RULE.extent_counts
        assert len(passed) >= 3, "between the faults the others do"
        record_property(f"plc {number}", f"{len(passed)} of {clear} CLEAR let through")


def found_by_chance(planes: U8) -> Detections:
    """A detector that finds something in one window of four, in the same one always."""
    if int(planes.sum(dtype=np.int64)) % 4:
        return Detections.empty()
    return Detections(np.array([[0, 0, 9, 9]], np.float32), np.array([0.9], np.float32),
                      np.zeros(1, np.int32))  # fmt: skip
