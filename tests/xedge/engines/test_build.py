"""Plans that are kept: with a back end that counts its builds, and with OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xedge import engines
from xedge.engines.base import Engine
from xedge.engines.build import Building, PlanBackEnd, load_built, plan_facts
from xedge.engines.cache import EngineCache
from xedge.engines.fake import FakeEngine
from xedge.errors import EngineCacheError, EngineLoadError, EngineRunError

PLANES = {"planes": np.full((1, 3, 32, 32), 90, np.uint8)}


class Counting:
    """A back end whose plan is its model backwards, of a driver that may change."""

    builds = 0
    driver = "1"

    @classmethod
    def facts(cls, threads: int | None) -> dict[str, str]:
        return {"version": "9"}

    @classmethod
    def build(cls, model, threads, cache, progress) -> bytes:
        if not model:
            raise EngineLoadError("empty")
        cls.builds += 1
        progress("building", 0.5)
        return cls.driver.encode() + model[::-1]

    @classmethod
    def load(cls, model: bytes, threads: int | None) -> Engine:
        return FakeEngine(height=32, width=32)

    @classmethod
    def open(cls, plan: bytes, threads: int | None, cache: EngineCache | None) -> Engine:
        if plan[:1] != cls.driver.encode():
            raise EngineLoadError("a plan of another driver")
        return FakeEngine(height=32, width=32)


@pytest.fixture
def back_end() -> type[Counting]:
    return type("Fresh", (Counting,), {"builds": 0})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def accept(engine: Engine) -> None:
    engine.run(PLANES)


def test_it_is_built_once_and_then_opened(back_end, cache) -> None:
    heard = []
    how = Building(cache, accept, lambda what, part: heard.append((what, part)))
    for _ in range(3):
        load_built(back_end, "x", b"model", None, how).run(PLANES)
    assert back_end.builds == 1
    assert heard == [("building", 0.5)]
    load_built(back_end, "x", b"another model", None, how)
    assert back_end.builds == 2


def test_rebuild_builds_anew_and_keeps_that(back_end, cache) -> None:
    for rebuild in (False, True, False):
        load_built(back_end, "x", b"model", None, Building(cache, accept, rebuild=rebuild))
    assert back_end.builds == 2


def test_what_was_not_accepted_is_closed_and_not_kept(back_end, cache) -> None:
    seen: list[Engine] = []

    def refuse(engine: Engine) -> None:
        seen.append(engine)
        raise EngineRunError("does not reproduce the golden answer")

    with pytest.raises(EngineRunError, match="golden"):
        load_built(back_end, "x", b"model", None, Building(cache, refuse))
    with pytest.raises(EngineRunError, match="closed"):
        seen[0].run(PLANES)
    assert cache.entries() == []


def test_what_nobody_judged_is_not_kept(back_end, cache) -> None:
    load_built(back_end, "x", b"model", None, Building(cache)).run(PLANES)
    assert cache.entries() == []


def test_a_plan_of_another_driver_is_built_again(back_end, cache) -> None:
    load_built(back_end, "x", b"model", None, Building(cache, accept))
    back_end.driver = "2"  # nothing in the facts says so: only opening it does
    load_built(back_end, "x", b"model", None, Building(cache, accept)).run(PLANES)
    assert back_end.builds == 2
    load_built(back_end, "x", b"model", None, Building(cache, accept))
    assert back_end.builds == 2


def test_a_truncated_plan_is_built_again(back_end, cache) -> None:
    load_built(back_end, "x", b"model", None, Building(cache, accept))
    (path,) = cache.folder.glob("*.plan")
    path.write_bytes(path.read_bytes()[:-1])
    load_built(back_end, "x", b"model", None, Building(cache, accept)).run(PLANES)
    assert back_end.builds == 2
    assert cache.get(plan_facts(back_end, "x", b"model", None)) == b"1ledom"


def test_a_full_disk_costs_the_next_start_and_nothing_else(back_end, cache, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    load_built(back_end, "x", b"model", None, Building(cache, accept)).run(PLANES)


def test_a_folder_opened_to_others_meanwhile_is_no_small_matter(back_end, cache) -> None:
    load_built(back_end, "x", b"model", None, Building(cache, accept))
    cache.folder.chmod(0o777)
    with pytest.raises(EngineCacheError, match="cannot be trusted"):
        load_built(back_end, "x", b"model", None, Building(cache, accept))


def test_without_a_cache_it_is_loaded_directly_and_judged_all_the_same(back_end) -> None:
    load_built(back_end, "x", b"model", None, Building()).run(PLANES)
    assert back_end.builds == 0

    def refuse(_: Engine) -> None:
        raise EngineRunError("no")

    with pytest.raises(EngineRunError):
        load_built(back_end, "x", b"model", None, Building(None, refuse))


@pytest.fixture
def openvino() -> str:
    if not (there := engines.available()["openvino"]).usable:
        pytest.skip(f"needs openvino: {there}")
    return "openvino"


class TestOpenVino:
    def test_it_builds_plans_and_the_other_cpu_back_ends_do_not(self) -> None:
        from xedge.engines.onnxruntime import OnnxRuntimeEngine
        from xedge.engines.openvino import OpenVinoBf16Engine, OpenVinoEngine

        assert isinstance(OpenVinoEngine, PlanBackEnd)
        assert isinstance(OpenVinoBf16Engine, PlanBackEnd)
        assert not isinstance(OnnxRuntimeEngine, PlanBackEnd)
        assert not isinstance(FakeEngine, PlanBackEnd)

    def test_a_kept_plan_gives_the_same_bits(self, openvino, tiny_onnx, cache) -> None:
        planes = {"planes": np.random.default_rng(1).integers(0, 256, (1, 3, 32, 32), np.uint8)}
        plain = engines.load(tiny_onnx, openvino, 1).run(planes)
        for _ in range(2):
            built = engines.load(tiny_onnx, openvino, 1, Building(cache, lambda e: e.run(planes)))
            found = built.run(planes)
            assert {n: a.tobytes() for n, a in found.items()} == {
                n: a.tobytes() for n, a in plain.items()
            }
        assert [entry.facts["engine"] for entry in cache.entries()] == ["openvino"]

    def test_a_kept_plan_is_opened_and_not_compiled(
        self, openvino, tiny_onnx, cache, monkeypatch
    ) -> None:
        from xedge.engines.openvino import OpenVinoEngine

        engines.load(tiny_onnx, openvino, 1, Building(cache, accept))

        def compiled(*_: object) -> None:
            raise AssertionError("compiled again")

        monkeypatch.setattr(OpenVinoEngine, "_compile", compiled)
        engines.load(tiny_onnx, openvino, 2, Building(cache, accept)).run(PLANES)

    def test_a_sound_file_with_half_a_plan_in_it_is_built_again(
        self, openvino, tiny_onnx, cache
    ) -> None:
        from xedge.engines.openvino import OpenVinoEngine

        facts = plan_facts(OpenVinoEngine, openvino, tiny_onnx, 1)
        for junk in (b"", b"junk", OpenVinoEngine.build(tiny_onnx, 1, None, print)[:500]):
            cache.put(facts, junk)
            engines.load(tiny_onnx, openvino, 1, Building(cache, accept)).run(PLANES)
            kept = cache.get(facts)
            assert kept is not None
            assert kept != junk

    def test_a_refused_model_is_refused_as_without_a_cache(self, openvino, cache) -> None:
        with pytest.raises(EngineLoadError, match="refused the model"):
            engines.load(b"junk", openvino, 1, Building(cache, accept))
        assert cache.entries() == []
