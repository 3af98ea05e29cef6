"""What a lane's health says, and what makes it a problem."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from xedge.commands.engine import EngineState
from xedge.commands.health import LAST_ERRORS, Health, health_of
from xedge.control.fake import FakeBus, FakePlc
from xedge.control.link import Link, LinkConfig, LinkStatus
from xedge.lane.engine_process import ProcessState
from xedge.lane.selftest import SelfTests
from xedge.lane.vitals import Vitals
from xedge.scanner.health import DetectorHealth
from xedge.scanner.pairing import ViewBooks

ENGINE = EngineState("fake 1", SelfTests(3, 1, time.monotonic()), ProcessState(
    True, 17, "fake 1", 2, 2, "it hung"))  # fmt: skip


@pytest.fixture(scope="module")
def link() -> LinkStatus:
    with Link(FakeBus(FakePlc()), LinkConfig(valid_counts=100), 1) as link:
        return replace(link.status, connected=True, plc_alive=True)


def health(link: LinkStatus, vitals: Vitals | None = None, **changes) -> Health:
    values = {"lane": "north", "state": "screening", "vitals": vitals or Vitals(),
              "engines": {"full": ENGINE}, "links": [link], "journal": True}  # fmt: skip
    return health_of(**(values | changes))


def test_a_lane_that_does_its_work_is_good(link: LinkStatus) -> None:
    found = health(link)
    assert found.good
    said = json.loads(json.dumps(found.to_dict()))
    assert (said["ok"], said["problems"], said["lane"]) == (True, [], "north")
    assert list(said["stages"]) == ["acquisition", "core", "engine"]
    assert said["engines"]["full"]["process"] == {
        "ready": True, "pid": 17, "restarts": 2, "failures": 2, "last_failure": "it hung",
    }  # fmt: skip
    assert said["engines"]["full"]["self_tests"]["failed"] == 1
    assert said["engines"]["full"]["self_tests"]["passed_ago_s"] >= 0
    assert said["journal"] == {"kept": True, "failing": False, "errors": 0}
    assert said["bags"]["ledger_balanced"]


def test_each_problem_is_named(link: LinkStatus) -> None:
    views = (ViewBooks(), ViewBooks(lost=True))
    assert health(link, views=views).problems == (
        "view 2 gives no lines, or late ones: no bag is cleared without it",)  # fmt: skip
    assert "not screening: starting" in health(link, state="starting", engines={}).problems[0]
    down = replace(ENGINE, process=replace(ENGINE.process, ready=False))
    assert "started again, because it hung" in health(link, engines={"full": down}).problems[0]
    wrong = replace(ENGINE, tests=replace(ENGINE.tests, error="the self-test failed"))
    assert health(link, engines={"full": wrong}).problems == ("the self-test failed",)
    assert health(link, engines={"full": ENGINE, "small": wrong}).problems == (
        "small: the self-test failed",)  # fmt: skip
    silent = Vitals(core_s=0.0)
    silent.core.begin()
    time.sleep(0.001)
    assert health(link, silent).problems[0].startswith("core is silent")
    full = Vitals()
    full.journal_failing, full.journal_errors = True, 7
    assert health(link, full).problems == ("the journal fails: 7 records are not in it",)
    odd = Vitals()
    odd.detector = DetectorHealth(elements=32, air=(0.96, 1.0), wanted="too dark", fault=True)
    assert health(link, odd).problems == (
        "the detector: low energy: air reads 96.0 % of what it did when the correction was made: "
        "make a new one", "the detector: too dark",
        "the detector: more than 4 neighbouring elements fail",
    )  # fmt: skip
    assert len(health(link, odd).figures["detector"]["recalibrate"]) == 2
    odd.detector = DetectorHealth(elements=32, dead=((3,), ()), glitches=(2, 0))
    assert health(link, odd).good
    assert health(link, odd).figures["detector"]["low"] == {
        "air": 1.0, "dead": 1, "failing": 0, "glitches": 2,
    }  # fmt: skip
    for change, said in (({"connected": False}, "not connected"), ({"plc_alive": False}, "silent")):
        (problem,) = health(replace(link, **change)).problems
        assert problem.startswith(link.bus)
        assert said in problem


def test_the_last_errors_are_told_and_all_are_counted(link: LinkStatus) -> None:
    vitals = Vitals()
    for number in range(LAST_ERRORS + 5):
        vitals.errors.add(f"error {number}")
    found = health(link, vitals)
    assert found.good  # they are over
    errors = found.to_dict()["errors"]
    assert errors["count"] == LAST_ERRORS + 5
    assert [entry["message"] for entry in errors["last"]] == [
        f"error {number}" for number in range(5, LAST_ERRORS + 5)
    ]
    assert errors["last"][0]["at"].endswith("+00:00")
