"""Bundles: one ``.xedge`` file with everything that a device needs of a model.

The file is a zip with these members, stored or deflated, and no others:

    manifest.json                 schema, spec, members with size and sha256, licence, measured ...
    signature                     optional: Ed25519 over the bytes of manifest.json, 64 bytes
    model/VARIANT.onnx            one graph a variant (fp32, fp16, int8 ...)
    golden/low.npy, high.npy      corrected counts of one window, uint16
    golden/VARIANT/OUTPUT.npy     what that variant's engine answered to them: of a detector boxes,
                                  scores, labels; of a classifier scores, maps
    recipe.toml                   the recipe of the training, where there was one
    LICENCE                       licence of the weights, in full

Reading trusts nothing: sizes are limited before anything is unpacked, the signature (where a key
is given) is checked over raw bytes before the manifest is parsed, every member is checked against
the manifest's sha256 before it is used, and arrays are read without pickle.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge import signing
from xedge.archive import corrupt, npy, pack, read_npy, refuse_other_kinds, unpack
from xedge.errors import BundleError, SignatureError
from xedge.quiet import Quiet
from xedge.spec import ModelSpec, fits
from xedge.types import U16

SCHEMA: Final = 1
LARGEST_FILE: Final = 256 * 2**20
LARGEST_MANIFEST: Final = 2**20

_MANIFEST, _SIGNATURE, _RECIPE, _LICENCE = "manifest.json", "signature", "recipe.toml", "LICENCE"
_COUNTS: Final = np.dtype(np.uint16)
_VARIANT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MEMBER = re.compile(
    r"signature|manifest\.json|recipe\.toml|LICENCE|golden/(low|high)\.npy"
    r"|model/[a-z0-9-]+\.onnx|golden/[a-z0-9-]+/(boxes|scores|labels|maps)\.npy"
)


@dataclass(frozen=True)
class Tolerance:
    """How far an engine's answer to the golden input may be from the recorded one.

    Attributes:
        score: Largest difference of two scores.
        iou: Smallest overlap of two boxes that are the same.
    """

    score: float = 1e-3
    iou: float = 0.99

    def __post_init__(self) -> None:
        if not (0.0 < self.score < 1.0 and 0.0 < self.iou < 1.0):
            raise BundleError("a tolerance cannot be used", expected="score and iou within 0..1",
                              found=f"{self.score}, {self.iou}")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Variant:
    """One graph of a bundle.

    Attributes:
        model: The ONNX file.
        golden: The outputs that `ModelSpec.outputs` names, for the golden input.
        tolerance: How far an engine's answer may be from that.
        quiet: How low the first pass must score for a window to stop there.
    """

    model: bytes
    golden: Mapping[str, npt.NDArray[Any]]
    tolerance: Tolerance = Tolerance()
    quiet: tuple[Quiet, ...] = ()


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was read and checked.

    Attributes:
        spec: The model's description.
        variants: Name to graph; always has ``fp32``.
        golden_low: Corrected low-energy counts of the golden window, uint16 ``[lines, elements]``.
        golden_high: Corrected high-energy counts, the same shape.
        licence: Full text of the weights' licence.
        recipe: Text of the training's recipe, empty where there was none.
        measured: What was measured of the model, as JSON: free in form, for people and reports.
        created: Day on which it was written, ISO 8601.
        sha256: Digest of the whole file.
        signed: True when it carries a signature, whoever made it.
        verified: True when that was checked with a key that the caller gave.
    """

    spec: ModelSpec
    variants: Mapping[str, Variant]
    golden_low: U16
    golden_high: U16
    licence: str
    recipe: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    sha256: str = ""
    signed: bool = False
    verified: bool = False

    def model(self, variant: str = "fp32") -> bytes:
        """The ONNX file of a variant.

        Raises:
            BundleError: When the bundle has no such variant.
        """
        return self.variant(variant).model

    def variant(self, name: str = "fp32") -> Variant:
        """The variant of that name.

        Raises:
            BundleError: When the bundle has no such variant.
        """
        if name not in self.variants:
            raise BundleError(
                f"the bundle has no variant {name!r}",
                expected=", ".join(self.variants),
                found=name,
                remedy="Choose one of these, or get a bundle that has it",
            )
        return self.variants[name]


def write_bundle(
    path: Path,
    *,
    spec: ModelSpec,
    variants: Mapping[str, Variant],
    golden_low: U16,
    golden_high: U16,
    licence: str,
    created: datetime.date,
    recipe: str = "",
    measured: Mapping[str, Any] | None = None,
    private_key: bytes | None = None,
) -> str:
    """Write a bundle and return the sha256 of the file; the same input gives the same bytes.

    Args:
        path: Where it goes; it appears whole or not at all.
        spec: The model's description.
        variants: Name to graph; ``fp32`` must be among them.
        golden_low: Corrected low-energy counts, uint16 ``[lines, elements]``, at most one window.
        golden_high: Corrected high-energy counts, the same shape.
        licence: Full text of the weights' licence.
        created: The day to record.
        recipe: Text of the training's recipe.
        measured: What was measured of the model; anything that is JSON.
        private_key: 32 raw bytes of an Ed25519 key to sign with.

    Raises:
        BundleError: When something does not fit together.
        SignatureError: When it is to be signed and cannot be.
    """
    members = {
        "golden/low.npy": npy(golden_low),
        "golden/high.npy": npy(golden_high),
        _LICENCE: licence.encode(),
    }
    if recipe:
        members[_RECIPE] = recipe.encode()
    for name, variant in variants.items():
        members[f"model/{name}.onnx"] = variant.model
        for output in spec.outputs:
            members[f"golden/{name}/{output}.npy"] = npy(variant.golden[output])
    manifest = {
        "schema": SCHEMA,
        "created": created.isoformat(),
        "spec": json.loads(spec.to_json()),
        "licence": spec.licence,
        "parents": spec.parents,
        "measured": dict(measured or {}),
        "variants": {
            name: {"tolerance": asdict(v.tolerance)}
            | ({"quiet": [asdict(one) for one in v.quiet]} if v.quiet else {})
            for name, v in variants.items()
        },
        "members": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(members.items())
        },
    }
    head = json.dumps(manifest, indent=1, sort_keys=True).encode()
    first = {_MANIFEST: head}
    if private_key is not None:
        first[_SIGNATURE] = signing.sign(head, private_key)
    return _keep(pack(first | dict(sorted(members.items()))), path)


def sign_bundle(path: Path, out: Path, private_key: bytes) -> str:
    """Sign the bundle in a file and return the sha256 of what was written.

    Args:
        path: The bundle; a signature that it has is replaced.
        out: Where the signed one goes; it appears whole or not at all.
        private_key: 32 raw bytes of an Ed25519 key.

    Raises:
        BundleError: When there is no sound bundle.
        SignatureError: When the key cannot be used.
    """
    content = _read(path)
    with _named(path):
        parse_bundle(content)
        members = unpack(content, _MEMBER)
    head = members.pop(_MANIFEST)
    first = {_MANIFEST: head, _SIGNATURE: signing.sign(head, private_key)}
    members.pop(_SIGNATURE, None)
    return _keep(pack(first | dict(sorted(members.items()))), out)


def _keep(content: bytes, path: Path) -> str:
    """Write a bundle, whole or not at all; what cannot be read is not written."""
    parse_bundle(content)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    return hashlib.sha256(content).hexdigest()


def open_bundle(path: Path | str | None = None, public_key: bytes | None = None) -> Bundle:
    """The bundle in a file, read and checked; None opens the one that xedge ships.

    Args:
        path: A ``.xedge`` file.
        public_key: 32 raw bytes of an Ed25519 key. When given, the bundle must be signed by it.

    Raises:
        BundleError: When it is missing, corrupt, or of another version.
        SignatureError: When a key is given and the signature is absent or does not verify.
    """
    if path is None:
        shipped = importlib.resources.files("xedge") / "bundles" / "default.xedge"
        if not shipped.is_file():
            raise BundleError(
                "this installation of xedge ships no bundle",
                expected="xedge/bundles/default.xedge",
                found="nothing",
                remedy="Install xedge again, or name a bundle with --bundle",
            )
        return parse_bundle(shipped.read_bytes(), public_key)
    content = _read(Path(path))
    with _named(Path(path)):
        return parse_bundle(content, public_key)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of what is done within, with the name of the file in front."""
    try:
        yield
    except SignatureError as error:
        raise SignatureError(f"{path}: {error}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise BundleError(
                f"{path} is too large for a bundle",
                expected=f"at most {LARGEST_FILE >> 20} MiB",
                found=f"{size >> 20} MiB",
            )
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"the bundle {path} cannot be read",
            expected="a .xedge file",
            found=error.strerror or str(error),
            remedy="Check the path",
        ) from error


def parse_bundle(content: bytes, public_key: bytes | None = None) -> Bundle:
    """The bundle in the bytes of a ``.xedge`` file; see `open_bundle`."""
    refuse_other_kinds(content)
    members = unpack(content, _MEMBER)
    head = members.pop(_MANIFEST, None)
    if head is None or len(head) > LARGEST_MANIFEST:
        raise corrupt("it has no manifest.json, or one of more than 1 MiB")
    signature = members.pop(_SIGNATURE, None)
    if public_key is not None:
        signing.verify(head, signature, public_key)
    manifest = _manifest(head)
    _check_members(manifest, members)
    try:
        spec = ModelSpec.from_json(json.dumps(manifest["spec"]))
        variants = {
            name: Variant(
                model=members[f"model/{name}.onnx"],
                golden={
                    output: read_npy(members[f"golden/{name}/{output}.npy"], np.dtype(dtype))
                    for output, (dtype, _) in spec.outputs.items()
                },
                tolerance=Tolerance(**record["tolerance"]),
                quiet=tuple(Quiet(**one) for one in record.get("quiet", ())),
            )
            for name, record in manifest["variants"].items()
        }
        bundle = Bundle(
            spec=spec,
            variants=variants,
            golden_low=read_npy(members["golden/low.npy"], _COUNTS),
            golden_high=read_npy(members["golden/high.npy"], _COUNTS),
            licence=members[_LICENCE].decode(),
            recipe=members.get(_RECIPE, b"").decode(),
            measured=dict(manifest["measured"]),
            created=str(manifest["created"]),
            sha256=hashlib.sha256(content).hexdigest(),
            signed=signature is not None,
            verified=public_key is not None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise corrupt(f"its manifest is not complete ({error})") from error
    _check_golden(bundle)
    return bundle


def _check_golden(bundle: Bundle) -> None:
    spec, low = bundle.spec, bundle.golden_low
    paired = (
        low.ndim == 2 and low.shape == bundle.golden_high.shape and min(low.shape) >= spec.binning
    )
    if not paired or max(low.shape[0] / spec.height, low.shape[1] / spec.width) > spec.binning:
        raise corrupt("its golden counts are not one window of the model")
    if "fp32" not in bundle.variants or not all(map(_VARIANT.fullmatch, bundle.variants)):
        raise corrupt(
            f"its variants are {', '.join(bundle.variants) or 'none'}, not fp32 and others"
        )
    for name, variant in bundle.variants.items():
        if not all(fits(variant.golden[output].shape, shape)
                   for output, (_, shape) in spec.outputs.items()):  # fmt: skip
            raise corrupt(f"the golden outputs of {name} do not fit its description")


def _manifest(head: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(head.decode())
    except (ValueError, RecursionError) as error:
        raise corrupt("its manifest is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        raise BundleError(
            "the bundle is of another version",
            expected=f"schema {SCHEMA}",
            found=f"schema {schema}",
            remedy="Export it again with this version of xedge",
        )
    return manifest


def _check_members(manifest: dict[str, Any], members: Mapping[str, bytes]) -> None:
    listed = manifest.get("members")
    if not isinstance(listed, dict) or set(listed) != set(members):
        raise corrupt("its members are not those of its manifest")
    for name, data in members.items():
        record = listed[name]
        if not isinstance(record, dict) or record.get("sha256") != hashlib.sha256(data).hexdigest():
            raise corrupt(f"the sha256 of {name} is not the manifest's")
