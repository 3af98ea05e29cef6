"""Models in PyTorch, as they are compared with engines."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from xedge_benchmarks.contenders import noise
from xedge_benchmarks.speed_graphs import Subject
from xedge_benchmarks.torch_rivals import plain_export, torch_run, whole

CHR = Subject("chr-tiny", ("model.trunk.pretrained=false",))
LA = Subject("atss-lacls-tiny")


def test_the_whole_model_answers_as_its_engine_does() -> None:
    module, spec = whole(LA)
    planes = torch.from_numpy(noise(spec.height, spec.width)[0][None])
    deployed, _ = LA.deployed()
    with torch.no_grad():
        mine, engines = module(planes), deployed(planes)
    assert [a.shape for a in mine] == [a.shape for a in engines]
    # LA by autograd, and unrolled: the same sums in another order, a handful of them near a kink.
    np.testing.assert_allclose(mine[1], engines[1], atol=1e-3)


def test_half_a_run() -> None:
    whole_run, half_run = torch_run(CHR, 1), torch_run(CHR, 1, half=True)
    (scores, _), (rounded, _) = whole_run(), half_run()  # type: ignore[misc]
    # bfloat16 keeps 8 bits; a score moves by a quarter of its logit, of some tens of layers.
    assert 0 < (scores - rounded.float()).abs().max() < 0.1


@pytest.mark.full
def test_a_plain_export_answers_alike_and_stops_at_a_gradient() -> None:
    module, spec = whole(CHR)
    planes = noise(spec.height, spec.width)[0][None]
    session = onnxruntime.InferenceSession(plain_export(CHR))
    answers = session.run(None, {session.get_inputs()[0].name: planes})
    with torch.no_grad():
        scores, _ = module(torch.from_numpy(planes))
    np.testing.assert_allclose(answers[0], scores, atol=1e-4)
    with pytest.raises(
        torch.onnx.OnnxExporterError, match=r"LA's gradient step was left as a call"
    ):
        plain_export(LA)
