"""`xedge bench speed`: what mechanisms and precisions cost, in turn, with the goals beside.

A table is a list of contenders; each is compared with the first of its group. Time on the clock is
what counts on a quiet machine, processor time what is left to say on a busy one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch

from xedge import engines
from xedge.bundle import open_bundle
from xedge.engines.base import Engine
from xedge.engines.stages import in_two
from xedge.engines.threads import physical_cores
from xedge.engines.two_stage import TwoStage
from xedge.errors import ConfigError, EngineError
from xedge.packing import spec_of
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.contenders import engine_contender, noise, work_told
from xedge_benchmarks.interleave import Contender
from xedge_benchmarks.record import BenchRecord, new_record
from xedge_benchmarks.shelf import Shelf
from xedge_benchmarks.speed_graphs import FORMS_OF, Subject, sides
from xedge_benchmarks.two_clocks import keep_memory, timed_by_both

EAGER: Final = "torch-eager"
ALWAYS: Final = 2.0
"""A score that no window reaches: each one stops."""

MERGED: Final[Mapping[str, str]] = {"fp32": "one-backward", "fp16": "one-backward-fp16"}
"""Form to the one with LA's two backward passes made one."""

_R50 = ("data.height=640", "data.width=640", "model.pyramid.pretrained=false")
_VGG = ("model.trunk.pretrained=false",)
ATSS: Final = Subject("atss-r50", _R50)
ATSS_LA: Final = Subject("atss-r50", (*_R50, "model.label_aware=true"))
SSD: Final = Subject("ssd300-vgg16", _VGG)
SSD_DOAM: Final = Subject("ssd300-vgg16-doam", _VGG)
R34: Final = Subject("backbone-resnet34", _VGG)
R34_CHR: Final = Subject("chr-resnet34", _VGG)


@dataclass(frozen=True)
class Row:
    """One contender.

    Attributes:
        name: Of the row.
        subject: The model.
        engine: A back end, or `EAGER` for the model in PyTorch.
        form: What is done to the float32 graph, a key of `FORMS_OF`.
        against: Row of the same table that it is compared with; empty for the first one.
        windows: What a graph with LA is cut in two for: ``quiet`` windows, which stop after its
            first pass, or ``refined`` ones, which go on; empty leaves it whole.
    """

    name: str
    subject: Subject
    engine: str
    form: str = "fp32"
    against: str = ""
    windows: str = ""


def _overheads(
    plain: Subject, more: Subject, name: str, forms: Mapping[str, str], host: str = "plain"
) -> list[Row]:
    rows = []
    for form, engine in forms.items():
        first = f"{host}, {engine} {form}"
        rows += [Row(first, plain, engine, form, first),
                 Row(f"{name}, {engine} {form}", more, engine, form, first)]  # fmt: skip
    return rows


def _label_aware(engine: str) -> list[Row]:
    first = f"plain, {engine}"
    return [
        Row(first, ATSS, engine, "fp32", first),
        Row(f"LA, two backward passes, {engine}", ATSS_LA, engine, "fp32", first),
        Row(f"LA, one backward pass, {engine}", ATSS_LA, engine, "one-backward", first),
    ]


def _quiet(engine: str) -> list[Row]:
    """LA whose quiet windows stop after the first pass, over the plain host."""
    first, form = f"plain, {engine}", "one-backward"
    return [
        Row(first, ATSS, engine, "fp32", first),
        Row(f"LA, whole graph, {engine}", ATSS_LA, engine, form, first),
        Row(f"LA, a quiet window, {engine}", ATSS_LA, engine, form, first, "quiet"),
        Row(f"LA, a refined window, {engine}", ATSS_LA, engine, form, first, "refined"),
    ]


def _mechanisms(engine: str, *forms: str) -> list[Row]:
    """Each mechanism over its host on one engine; LA of a half-precision graph both ways."""
    rows = []
    for form in forms:
        one = {form: engine}
        rows += _overheads(ATSS, ATSS_LA, "ATSS + LA", one, "ATSS")
        if (merged := MERGED.get(form)) is not None:
            rows.append(Row(f"ATSS + LA, one backward pass, {engine} {form}", ATSS_LA, engine,
                            merged, f"ATSS, {engine} {form}"))  # fmt: skip
        rows += _overheads(SSD, SSD_DOAM, "SSD300 + DOAM", one, "SSD300")
        rows += _overheads(R34, R34_CHR, "ResNet-34 + CHR", one, "ResNet-34")
    return rows


TABLES: Final[Mapping[str, tuple[Row, ...]]] = MappingProxyType(
    {
        "atss": (
            Row("PyTorch eager fp32", ATSS, EAGER),
            Row("ONNX Runtime fp32", ATSS, "onnxruntime"),
            Row("OpenVINO fp32", ATSS, "openvino"),
            Row("ONNX Runtime's own INT8", ATSS, "onnxruntime", "int8-onnxruntime"),
            Row("ONNX Runtime, int8-u8s8", ATSS, "onnxruntime", "int8-u8s8"),
            Row("OpenVINO, int8", ATSS, "openvino", "int8"),
        ),
        "label-aware": tuple(_label_aware("openvino") + _label_aware("onnxruntime")),
        "quiet": tuple(_quiet("openvino") + _quiet("onnxruntime")),
        "doam": tuple(
            _overheads(SSD, SSD_DOAM, "DOAM", {"fp32": "openvino", "int8": "openvino"})
            + _overheads(SSD, SSD_DOAM, "DOAM", {"fp32": "onnxruntime", "int8": "openvino-bf16"})
        ),
        "mechanisms": tuple(
            _mechanisms("openvino", "fp32", "int8")
            + _mechanisms("openvino-bf16", "fp32", "int8")
            + _mechanisms("onnxruntime", "fp32", "int8-u8s8")
            + _mechanisms("onnxruntime-cuda", "fp32", "fp16")
            + _mechanisms("tensorrt-graph", "fp16", "int8-fp16")
            + _mechanisms("tensorrt-rtx-graph", "fp16", "int8-fp16")
        ),
    }
)
"""Name of a table to its rows."""


@dataclass(frozen=True, kw_only=True)
class SpeedSettings:
    """How rows are measured.

    Attributes:
        rounds: How often each is timed.
        warmup: Untimed rounds beforehand.
        threads: Threads of one run; None for every physical core.
        within_s: Seconds after which no more round begins; None sets no end.
        stopped: Share of a belt's windows that stop after the first pass; None takes what
            `xedge quiet` measured of the bundle that ships.
    """

    rounds: int = 15
    warmup: int = 2
    threads: int | None = None
    within_s: float | None = None
    stopped: float | None = None


def rows_of(name: str) -> tuple[Row, ...]:
    """The rows of a table.

    Raises:
        ConfigError: When there is no such table.
    """
    if name not in TABLES:
        raise ConfigError("there is no such table", expected=", ".join(TABLES), found=repr(name))
    return TABLES[name]


def bench_speed(
    name: str,
    settings: SpeedSettings = SpeedSettings(),
    graphs: Path | None = None,
    only: str = "",
) -> BenchRecord:
    """A record of one table; ``results`` has a row a contender, in milliseconds.

    Args:
        name: Of the table, see `TABLES`.
        settings: Rounds and threads.
        graphs: Folder to keep graphs in.
        only: Leave out rows of other engines; empty leaves out none.

    Engines that cannot be used here are left out, and the record's notes say why.

    Raises:
        ConfigError: When there is no such table, no such row, or no engine for any.
        EngineError: When an engine refuses a graph.
    """
    asked = [row for row in rows_of(name) if only in ("", row.engine)]
    if not asked:
        raise ConfigError("the table has no such row", found=repr(only))
    absent = _absent(asked)
    rows = [row for row in asked if row.engine not in absent]
    if not rows:
        raise ConfigError(
            "no engine of the table can be used here", found=next(iter(absent.values()))
        )
    if any(row.windows for row in rows):
        settings = dataclasses.replace(settings, stopped=stopped_share(settings.stopped))
    keep_memory()
    budget = Budget(settings.within_s)
    digests: dict[str, str] = {}
    works: dict[str, Any] = {}
    with ExitStack() as stack:
        made = (_contender(row, settings, Shelf(graphs), stack, digests, works) for row in rows)
        contenders = list(made)
        with Watch() as watch:
            found = timed_by_both(
                contenders, [row.against for row in rows], rounds=settings.rounds,
                warmup=settings.warmup, enough=budget.over,
            )  # fmt: skip
    for measured, row in zip(found, rows, strict=True):
        measured |= {"engine": row.engine, "form": row.form}
    told = dataclasses.asdict(settings) | {"only": only}
    if settings.stopped is None:
        del told["stopped"]  # other tables have no such setting
    else:
        found += belts(rows, found, settings.stopped)
    return new_record(
        f"speed-{name}",
        models=digests,
        settings=told,
        results={"rows": found, "work": works},
        conditions=watch.conditions,
        notes=(
            *(f"not measured: {engine}: {why}" for engine, why in absent.items()),
            *budget.stopped("rounds", found[0]["rounds"], settings.rounds),
        ),
    )


def stopped_share(given: float | None) -> float:
    """The share of windows that stop: what is given, or what the shipped bundle says of fp32.

    Raises:
        ConfigError: When nothing is given and the bundle does not say.
    """
    if given is not None:
        return given
    measured = open_bundle().measured.get("quiet", {}).get("fp32", {})
    if not measured:
        raise ConfigError("nothing says how many windows are quiet", expected="--stopped SHARE",
                          found="a bundle that does not say")  # fmt: skip
    share: float = measured["stated"][-1]["checked_on"]["stopped_belt"]
    return share


def belts(
    rows: Sequence[Row], found: Sequence[Mapping[str, Any]], stopped: float
) -> list[dict[str, Any]]:
    """A row an engine for the mean window of a belt: medians of both kinds by their shares.

    Percentiles and the greatest time of a belt are not between those of its kinds: None.

    Args:
        rows: Of the table.
        found: What was measured of each.
        stopped: Share of the windows that are quiet.
    """
    kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row, told in zip(rows, found, strict=True):
        if row.windows:
            kinds.setdefault(row.engine, {})[row.windows] = told
    return [
        {
            key: value
            if not isinstance(value, float)
            else stopped * both["quiet"][key] + (1 - stopped) * value
            if "median" in key or "ratio" in key
            else None
            for key, value in both["refined"].items()
        }
        | {"name": f"LA, mean of a belt, {engine}", "stopped": stopped}
        for engine, both in kinds.items()
    ]


def _absent(rows: Sequence[Row]) -> dict[str, str]:
    """Engines of the rows that cannot be used here, and why."""
    absent = {}
    for engine in dict.fromkeys(row.engine for row in rows if row.engine != EAGER):
        try:
            engines.usable(engine)
        except EngineError as error:
            absent[engine] = str(error)
    return absent


def _contender(
    row: Row,
    settings: SpeedSettings,
    shelf: Shelf,
    stack: ExitStack,
    digests: dict[str, str],
    works: dict[str, Any],
) -> Contender:
    if row.engine == EAGER:
        return _eager(row, settings)
    subject, key = row.subject, "-".join((row.subject.recipe, *row.subject.changes[3:]))
    plain = shelf.take(_file_name(key), subject.graph)
    model = shelf.take(_file_name(f"{key}-{row.form}"), lambda: FORMS_OF[row.form](plain))
    digests[row.name] = hashlib.sha256(model).hexdigest()
    if row.windows != "quiet":  # of which only a part of the graph is computed
        works[row.name] = work_told(model)
    engine = _loaded(model, row, settings.threads)
    stack.enter_context(closing(engine))
    return engine_contender(row.name, engine, [noise(*sides(model))[0][None]])


def _loaded(model: bytes, row: Row, threads: int | None) -> Engine:
    """The graph in an engine, whole or in two stages."""
    if not row.windows:
        return engines.load(model, row.engine, threads)
    spec = spec_of(model)
    assert spec is not None, "exported with its description"
    stages = in_two(model, len(spec.classes))
    first, second = (engines.load(m, row.engine, threads) for m in (stages.first, stages.second))
    return TwoStage(first, second, stages, ALWAYS if row.windows == "quiet" else 0.0)


def _file_name(key: str) -> str:
    return key.replace("=", "-").replace("/", "-")


def _eager(row: Row, settings: SpeedSettings) -> Contender:
    module, spec = row.subject.deployed()
    torch.set_num_threads(settings.threads or physical_cores())
    planes = torch.from_numpy(noise(spec.height, spec.width)[0][None])

    def run() -> None:
        with torch.inference_mode():
            module(planes)

    return Contender(row.name, run)
