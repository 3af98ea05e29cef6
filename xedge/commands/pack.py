"""`xedge pack`: ONNX files become a bundle."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from xedge import signing
from xedge.commands.bundle_options import refuse_output
from xedge.commands.sign import passphrase
from xedge.errors import BundleError, ConfigError, ImageError
from xedge.packing import SURE, TRIES, own_licence, pack_bundle, spec_of
from xedge.pictures import DualEnergyPicture, read_picture
from xedge.spec import METADATA_KEY, ModelSpec
from xedge.types import U16


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[VARIANT=]MODEL.onnx...")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="The bundle, FILE.xedge.")  # fmt: skip
@click.option("--spec", type=click.Path(path_type=Path),
              help="The model's description as JSON; else that inside the fp32 model.")  # fmt: skip
@click.option("--golden", type=click.Path(path_type=Path),
              help="Corrected dual-energy counts of a window, as `xedge detect` reads them; "
              "else those of a simulated bag.")  # fmt: skip
@click.option("--sure", type=click.FloatRange(0, 1), default=SURE, show_default=True,
              help="Score that the model must give something in the simulated bag.")  # fmt: skip
@click.option("--licence", type=click.Path(path_type=Path),
              help="Text of the weights' licence; else xedge's own.")  # fmt: skip
@click.option("--recipe", type=click.Path(path_type=Path), help="The training's recipe, TOML.")
@click.option("--key", type=click.Path(path_type=Path), help="The private key to sign with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a sentence.")
def pack(
    models: tuple[str, ...],
    out: Path,
    spec: Path | None,
    golden: Path | None,
    sure: float,
    licence: Path | None,
    recipe: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Pack ONNX models into a bundle that proves itself on a device.

    Each MODEL.onnx is a variant of one model: fp32 must be there; fp16, int8 and int8-WORD may be.
    Their answers to one window of raw counts are recorded as ONNX Runtime gives them, for
    `xedge verify` to compare other engines with. No PyTorch is needed.

    \b
    Examples:
      xedge pack model.onnx -o model.xedge
      xedge pack fp32=model.onnx fp16=model-fp16.onnx int8=model-int8.onnx -o model.xedge
      xedge pack model.onnx --golden window.npz --key maker.key -o model.xedge
    """  # noqa: D301  # click wants the character, not a backslash
    refuse_output(out)
    files = named_models(models)
    described = read_spec(spec, files)
    private_key = signing.read_private_key(key, passphrase) if key else None
    counts = golden_of(golden, described) if golden else None
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        bar = progress.add_task("Looking for a golden window", total=TRIES)
        digest = pack_bundle(
            out,
            files,
            described,
            licence=_text(licence) if licence else own_licence(),
            created=datetime.datetime.now(datetime.timezone.utc).date(),
            recipe=_text(recipe) if recipe else "",
            measured=described.measured,
            counts=counts,
            sure=sure,
            private_key=private_key,
            advance=lambda: progress.advance(bar),
        )
    record = {
        "file": str(out),
        "sha256": digest,
        "variants": list(files),
        "signed": key is not None,
    }
    if as_json:
        click.echo(json.dumps(record))
    else:
        click.echo(f"{out}: {described.name} as {', '.join(files)}, sha256 {digest}")


def named_models(models: Sequence[str]) -> dict[str, bytes]:
    """Variant to ONNX file of arguments ``VARIANT=FILE``; a bare FILE is fp32.

    Raises:
        ConfigError: When a variant is named twice.
        BundleError: When a file cannot be read.
    """
    found: dict[str, bytes] = {}
    for text in models:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = "fp32", text
        if name in found:
            raise ConfigError(
                f"the variant {name} is named twice",
                expected="VARIANT=MODEL.onnx, each variant once",
                found=" ".join(models),
            )
        found[name] = _bytes(Path(path))
    return found


def read_spec(path: Path | None, models: dict[str, bytes]) -> ModelSpec:
    """The description in a JSON file, or in the fp32 model, or in another one.

    Raises:
        BundleError: When there is none, or it cannot be used.
    """
    if path is not None:
        return ModelSpec.from_json(_text(path))
    for name in sorted(models, key=lambda name: name != "fp32"):
        if (spec := spec_of(models[name])) is not None:
            return spec
    raise BundleError(
        "nothing describes the model",
        expected=f"metadata_props[{METADATA_KEY!r}] in a model, as `xedge export` writes it",
        found="none",
        remedy="Give the description with --spec FILE.json",
    )


def golden_of(path: Path, spec: ModelSpec) -> tuple[U16, U16]:
    """Corrected counts in a file, cut to one window of the model.

    Raises:
        ImageError: When it holds none.
    """
    picture = read_picture(path)
    if not isinstance(picture, DualEnergyPicture):
        raise ImageError(
            f"{path} holds no counts",
            expected="16-bit dual energy: .npz, .tiff of two pages, or NAME_low.png, NAME_high.png",
            found="a picture in colour",
        )
    size = np.s_[: spec.height * spec.binning, : spec.width * spec.binning]
    return np.ascontiguousarray(picture.low[size]), np.ascontiguousarray(picture.high[size])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read", found=error.strerror or str(error),
                          remedy="Check the path") from error  # fmt: skip


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is no text", expected="UTF-8") from error
