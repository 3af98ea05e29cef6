"""One behaviour for every back end: the fake, ONNX Runtime and OpenVINO."""

import numpy as np
import pytest

from xedge import engines
from xedge.engines.base import Engine
from xedge.errors import EngineRunError, InputError

SHAPE = (1, 3, 32, 32)


def rows(boxes: np.ndarray, labels: np.ndarray) -> set[tuple[float, ...]]:
    return {(*b, k) for b, k in zip(boxes.tolist(), labels.tolist(), strict=True)}


@pytest.fixture(params=list(engines.BACK_ENDS))
def engine(request, tiny_onnx, tiny_engine):
    name = request.param
    if name == "fake":
        yield tiny_engine
        return
    there = engines.available()[name]
    if not there.usable:
        pytest.skip(f"{name}: {there}")
    loaded = engines.load(tiny_onnx, name, threads=1)
    yield loaded
    loaded.close()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE).astype(np.uint8)


def test_it_is_an_engine_with_the_contract_of_a_detector(engine) -> None:
    assert isinstance(engine, Engine)
    assert [(s.name, s.dtype, s.shape) for s in engine.inputs] == [
        ("planes", np.dtype(np.uint8), SHAPE)
    ]
    assert {s.name: (s.dtype, s.shape) for s in engine.outputs} == {
        "boxes": (np.dtype(np.float32), (1, 8, 4)),
        "scores": (np.dtype(np.float32), (1, 8)),
        "labels": (np.dtype(np.int32), (1, 8)),
    }


def test_outputs_are_what_was_declared_and_what_the_model_computes(engine, tiny_answer) -> None:
    planes = picture(1)
    outputs = engine.run({"planes": planes})
    assert {n: (a.dtype, a.shape) for n, a in outputs.items()} == {
        s.name: (s.dtype, s.shape) for s in engine.outputs
    }
    expected = tiny_answer(planes[0])
    # bfloat16 keeps 8 bits: scores within 2^-8, and near scores may change places.
    np.testing.assert_allclose(outputs["scores"][0], expected.scores, atol=2**-8)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_float32_back_ends_compute_float32(tiny_onnx, tiny_answer, name) -> None:
    if not (there := engines.available()[name]).usable:
        pytest.skip(f"{name}: {there}")
    planes = picture(2)
    expected = tiny_answer(planes[0])
    outputs = engines.load(tiny_onnx, name, threads=1).run({"planes": planes})
    # One division and one subtraction: two roundings of at most 2^-24 each.
    np.testing.assert_allclose(outputs["scores"][0], expected.scores, rtol=0, atol=2**-23)
    # Pixels as dark as the last one may or may not be among the eight: compare the others.
    sure = expected.scores > expected.scores[-1] + 2**-20
    assert rows(expected.boxes[sure], expected.labels[sure]) <= rows(
        outputs["boxes"][0], outputs["labels"][0]
    )


def test_the_same_input_gives_the_same_bits(engine) -> None:
    first, second = (engine.run({"planes": picture(3)}) for _ in range(2))
    for name in first:
        assert first[name].tobytes() == second[name].tobytes()


def test_outputs_belong_to_the_caller(engine) -> None:
    first = engine.run({"planes": picture(4)})
    copies = {name: array.copy() for name, array in first.items()}
    for seed in range(5, 10):
        engine.run({"planes": picture(seed)})
    for name, array in first.items():
        np.testing.assert_array_equal(array, copies[name])
        array[...] = 0  # and it can be written to


def test_views_and_read_only_arrays_are_taken_as_they_are(engine) -> None:
    planes = picture(6)
    expected = engine.run({"planes": planes})
    wide = np.zeros((1, 3, 32, 64), np.uint8)
    wide[..., ::2] = planes
    frozen = planes.copy()
    frozen.flags.writeable = False
    for same in (wide[..., ::2], frozen):
        outputs = engine.run({"planes": same})
        for name in expected:
            np.testing.assert_array_equal(outputs[name], expected[name])


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"images": np.zeros(SHAPE, np.uint8)},
        {"planes": np.zeros(SHAPE, np.uint8), "more": np.zeros(1, np.uint8)},
        {"planes": np.zeros(SHAPE, np.float32)},
        {"planes": np.zeros((2, 3, 32, 32), np.uint8)},
        {"planes": np.zeros((3, 32, 32), np.uint8)},
    ],
    ids=["nothing", "other name", "one too many", "dtype", "batch", "rank"],
)
def test_inputs_that_do_not_fit_are_refused_and_harm_nothing(engine, feeds) -> None:
    before = engine.run({"planes": picture(7)})
    with pytest.raises(InputError, match=r"expected .*found"):
        engine.run(feeds)
    after = engine.run({"planes": picture(7)})
    np.testing.assert_array_equal(before["scores"], after["scores"])


def test_a_closed_engine_does_not_run_and_closes_twice(engine) -> None:
    engine.close()
    engine.close()
    assert engine.inputs[0].name == "planes"
    with pytest.raises(EngineRunError, match="closed"):
        engine.run({"planes": picture(8)})
