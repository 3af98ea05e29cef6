"""One measurement as one JSON file that says what was measured, on what, and with which code."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import xedge_benchmarks
from xedge.bundle import Bundle
from xedge.errors import ConfigError
from xedge.machine import Machine, read_machine
from xedge.provenance import CodeVersion, code_version, installed_versions
from xedge_benchmarks.conditions import Conditions
from xedge_benchmarks.nvidia import driver_versions

SCHEMA: Final = 2
"""2 added `BenchRecord.conditions`; records of 1 are read as well."""
COMMIT_DIGITS: Final = 40

PACKAGES: Final = (
    "xedge",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt-rtx-cu13",
    "nncf",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "cuda-bindings",
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "onnx",
    "torch",
    "torchvision",
    "timm",
    "mlcommons-loadgen",
)
"""Distributions whose versions are written down when they are installed."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """A measurement that can be traced.

    Attributes:
        benchmark: Which one, a word.
        code: The commit that was measured, and whether files differed from it.
        started_utc: ISO 8601, seconds, UTC.
        command_line: What was typed.
        machine: What it ran on.
        versions: Distribution to version, of `PACKAGES` that are installed.
        models: Name to sha256 of each model that ran.
        settings: What the benchmark was told: rounds, threads, speeds.
        results: What it measured; units are in the keys.
        conditions: How the machine was meanwhile; None where nobody looked.
        notes: What a reader must know of the run, such as foreign load on the processor.
    """

    benchmark: str
    code: CodeVersion
    started_utc: str
    command_line: tuple[str, ...]
    machine: Machine
    versions: dict[str, str]
    models: dict[str, str]
    settings: Json
    results: Json
    conditions: Conditions | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The record as indented JSON with its schema number, in the order of the fields."""
        content = {"schema": SCHEMA, **dataclasses.asdict(self)}
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def new_record(
    benchmark: str,
    *,
    models: dict[str, str],
    settings: Json,
    results: Json,
    conditions: Conditions | None = None,
    notes: tuple[str, ...] = (),
) -> BenchRecord:
    """A record of what was just measured here, with this process's code, machine and versions.

    What the conditions have to say is added to its notes.
    """
    return BenchRecord(
        benchmark=benchmark,
        code=code_version(),
        started_utc=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command_line=(Path(sys.argv[0]).name, *sys.argv[1:]),
        machine=read_machine(),
        versions=installed_versions(PACKAGES) | driver_versions(),
        models=models,
        settings=settings,
        results=results,
        conditions=conditions,
        notes=(*notes, *(conditions.notes() if conditions else ())),
    )


def bundle_digests(bundle: Bundle) -> dict[str, str]:
    """The sha256 of a bundle and of its ``fp32`` variant, for `BenchRecord.models`."""
    return {
        bundle.spec.name: hashlib.sha256(bundle.model()).hexdigest(),
        "bundle": bundle.sha256,
    }


def write_record(record: BenchRecord, folder: Path, *, scratch: bool = False) -> Path:
    """Path of the new file ``folder/MACHINE/TIME-BENCHMARK-COMMIT.json``; none is overwritten.

    The file appears whole or not at all.

    Args:
        record: What to write.
        folder: The folder of all results.
        scratch: Accept code that no commit names; the file goes to ``folder/scratch`` then.

    Raises:
        ConfigError: When the code is not what a commit names and ``scratch`` is False, or when
            the folder cannot be written.
    """
    require_traceable(record.code, scratch=scratch)
    place = folder / "scratch" if scratch else folder / record.machine.slug
    moment = record.started_utc.partition("+")[0].replace(":", "")
    commit = record.code.commit[:12].replace(" ", "-")
    path = place / f"{moment}-{record.benchmark}-{commit}.json"
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        place.mkdir(parents=True, exist_ok=True)
        with part.open("x", encoding="utf-8") as file:
            file.write(record.to_json())
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # fails where there is such a file already
    except OSError as error:
        raise ConfigError(
            "the record cannot be written",
            found=str(error),
            remedy="Name another folder with --out",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def require_traceable(code: CodeVersion, *, scratch: bool) -> None:
    """Nothing, when a commit names exactly this code, or its record is for nobody else.

    Raises:
        ConfigError: When it does not and ``scratch`` is False.
    """
    if not scratch and (len(code.commit) != COMMIT_DIGITS or code.dirty):
        raise ConfigError(
            "this measurement cannot be traced",
            expected="a checkout without changes",
            found=str(code),
            remedy="Commit first, or keep it as a scratch record with --scratch",
        )


def read_record(path: Path) -> Json:
    """The content of a record's file, of this schema or an older one, as this one has it.

    Raises:
        ConfigError: When it is no record, or one of another schema.
    """
    try:
        content: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no record of a benchmark", found=str(error)) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema is None or isinstance(schema, bool) or not isinstance(schema, int):
        raise ConfigError(f"{path} is no record of a benchmark", expected='a key "schema"')
    if not 1 <= schema <= SCHEMA:
        raise ConfigError(
            f"{path} is a record of another schema",
            expected=f"1 to {SCHEMA}",
            found=str(schema),
            remedy="Read it with the xedge that wrote it",
        )
    content.setdefault("conditions", None)
    wanted = {field.name for field in dataclasses.fields(BenchRecord)}
    if missing := wanted - content.keys():
        raise ConfigError(f"{path} is no record of schema {schema}",
                          found=f"nothing of {', '.join(sorted(missing))}")  # fmt: skip
    return content


def checkout() -> Path | None:
    """Root of the checkout that this package runs from; None when it is installed elsewhere."""
    root = Path(xedge_benchmarks.__file__).resolve().parent.parent.parent
    return root if (root / ".git").exists() else None


def results_folder(out: Path | None) -> Path:
    """The folder of records that was named, or benchmarks/results of the checkout.

    Raises:
        ConfigError: When there is neither.
    """
    root = checkout()
    if out is None and root is None:
        raise ConfigError(
            "there is no checkout to keep the record in", remedy="Name a folder with --out"
        )
    return out or (root or Path()) / "benchmarks" / "results"


def keep_record(record: BenchRecord, out: Path | None, *, scratch: bool) -> Path:
    """Path of the new file in ``out``, or in benchmarks/results of the checkout.

    Raises:
        ConfigError: When there is neither, or see `write_record`.
    """
    return write_record(record, results_folder(out), scratch=scratch)
