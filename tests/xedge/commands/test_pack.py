"""`xedge pack` on the tests' tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xedge.bundle import open_bundle
from xedge.cli import main
from xedge.spec import ModelSpec


def call(*arguments: object):
    return CliRunner().invoke(main, ["pack", *(str(a) for a in arguments)])


@pytest.fixture
def folder(tmp_path: Path, tiny_onnx: bytes, tiny_spec: ModelSpec, tiny_parts) -> Path:
    """A model, its description, and counts larger than its window."""
    (tmp_path / "m.onnx").write_bytes(tiny_onnx)
    (tmp_path / "spec.json").write_text(tiny_spec.to_json())
    low, high = (np.tile(tiny_parts[f"golden_{n}"], (2, 2)) for n in ("low", "high"))
    np.savez(tmp_path / "window.npz", low=low, high=high)
    return tmp_path


def test_files_become_a_bundle(folder: Path, tiny_parts) -> None:
    (folder / "r.toml").write_text("epochs = 2\n")
    (folder / "l.txt").write_text("Do as you like")
    done = call(
        folder / "m.onnx", f"int8={folder / 'm.onnx'}", "--spec", folder / "spec.json", "--golden",
        folder / "window.npz", "--recipe", folder / "r.toml", "--licence", folder / "l.txt",
        "-o", folder / "m.xedge", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    bundle = open_bundle(folder / "m.xedge")
    assert json.loads(done.stdout) == {
        "file": str(folder / "m.xedge"), "sha256": bundle.sha256, "variants": ["fp32", "int8"],
        "signed": False,
    }  # fmt: skip
    assert (bundle.recipe, bundle.licence) == ("epochs = 2\n", "Do as you like")
    np.testing.assert_array_equal(bundle.golden_low[:, :60], tiny_parts["golden_low"])
    assert bundle.golden_low.shape == (64, 64)


def test_a_bundle_is_signed_at_once(folder: Path) -> None:
    pytest.importorskip("cryptography", reason="the extra `signing`")
    CliRunner().invoke(main, ["sign", "--new-key", str(folder / "k")])
    done = call(
        folder / "m.onnx", "--spec", folder / "spec.json", "--golden", folder / "window.npz",
        "--key", folder / "k.key", "-o", folder / "m.xedge",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert open_bundle(folder / "m.xedge").signed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.onnx", "-o", "m.zip"], "FILE.xedge"),
        (["m.onnx", "-o", "m.xedge"], "--spec FILE.json"),
        (["m.onnx", "m.onnx", "-o", "m.xedge"], "fp32 is named twice"),
        (["none.onnx", "-o", "m.xedge"], "none.onnx cannot be read"),
        (["m.onnx", "--spec", "m.onnx", "-o", "m.xedge"], "m.onnx is no text"),
        (["m.onnx", "--spec", "window.npz", "-o", "m.xedge"], "is no text"),
        (["spec.json", "-o", "m.xedge"], "expected an ONNX file"),
        (["m.onnx", "--spec", "spec.json", "--golden", "bag.png", "-o", "m.xedge"], "no counts"),
    ],
)
def test_what_cannot_be_packed(
    folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    monkeypatch.chdir(folder)
    cv2.imwrite("bag.png", np.zeros((8, 8, 3), np.uint8))
    done = call(*arguments)
    assert done.exit_code == 1
    assert message in done.output
    assert not (folder / "m.xedge").exists()
