"""From a checkpoint to ONNX that every engine takes."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn

from xedge.errors import ExportError, XedgeError
from xedge.spec import Kind, ModelSpec
from xedge.train.checkpoint import Checkpoint, load_checkpoint
from xedge_export.contract import INPUT_NAME, OUTPUTS, Stage, example_planes
from xedge_export.deployed import deploy
from xedge_export.passes import finish
from xedge_export.translations import TRANSLATIONS
from xedge_export.verifier import OPSET, verify


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported model.

    Attributes:
        model: The ONNX file's bytes.
        spec: Its description, which is also inside.
        checkpoint: What it was made from.
        nodes: Number of nodes in the graph.
    """

    model: bytes
    spec: ModelSpec
    checkpoint: Checkpoint
    nodes: int


def trace(
    module: nn.Module,
    height: int,
    width: int,
    outputs: tuple[str, ...] = OUTPUTS[Kind.DETECTOR],
    batch: int = 1,
) -> ir.Model:
    """The traced graph of a module that takes planes.

    Args:
        module: What is traced.
        height: Of the planes.
        width: Of the planes.
        outputs: Names of what it gives.
        batch: Windows of one run; a bundle's graph takes one.

    Raises:
        AutogradInGraph: When a gradient was left in the forward pass.
        ExportError: When torch cannot trace it for another reason.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own deprecations are not our users'
            program = torch.onnx.export(
                module.eval(),
                (example_planes(height, width, batch),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=list(outputs),
                optimize=True,
                verbose=False,
                custom_translation_table=dict(TRANSLATIONS),
            )
    except Exception as error:
        raise _explain(error) from error
    finally:
        logger.setLevel(level)
    if program is None:
        raise ExportError("torch exported nothing")
    return program.model


def _explain(error: BaseException) -> XedgeError:
    """Our own error for whatever the tracer raised."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, XedgeError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return ExportError(
        "torch cannot trace the model",
        found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        remedy="See the cause with --debug",
    )


def export_model(path: Path, stage: Stage = Stage.REFINED) -> Exported:
    """The model of a checkpoint as ONNX, verified, with its spec inside.

    Args:
        path: A checkpoint that `xedge train` wrote.
        stage: With LA's refinement where there is one, or the first pass alone.

    Raises:
        ConfigError: When there is no such checkpoint.
        ExportError: When it cannot be traced (`AutogradInGraph`) or some engine lacks a node
            (`GraphRefused`).
    """
    return export_checkpoint(*load_checkpoint(path), stage)


def export_checkpoint(
    checkpoint: Checkpoint, sha256: str, stage: Stage = Stage.REFINED
) -> Exported:
    """As `export_model`, of a checkpoint that was read before; its digest goes into the spec."""
    deployed, spec = deploy(checkpoint.model(), checkpoint.spec(sha256), stage)
    model = finish(trace(deployed, spec.height, spec.width, OUTPUTS[spec.kind]), spec)
    verify(model)
    data = ir.serde.serialize_model(model).SerializeToString()
    return Exported(data, spec, checkpoint, model.graph.num_nodes())
