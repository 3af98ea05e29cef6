"""Changes to a graph, each a named pass that says what must hold before and what holds after.

Built on onnx-ir's pass infrastructure; what it already has (unused nodes, doubled weights) is
taken from there.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    DeduplicateInitializersPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)
from onnxscript.optimizer import fold_constants

from xedge.spec import METADATA_KEY, ModelSpec
from xedge_export.algebra import ALGEBRA

LARGEST_CONSTANT: Final = 1 << 26
"""Numbers of a constant that is folded, or of what goes into one."""
SCOPES = "pkg.torch.onnx.name_scopes"


class FoldConstants(ir.passes.InPlacePass):
    """Compute once what never changes: anchors, priors, the centres of cells.

    torch's own folding stops at a size that SSD300's 8732 priors are above. Afterwards every node
    depends on the input.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with constants in place of nodes that see nothing else."""
        fold_constants(
            model,
            onnx_shape_inference=False,
            input_size_limit=LARGEST_CONSTANT,
            output_size_limit=LARGEST_CONSTANT,
        )
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        return ir.passes.PassResult(model, modified=True)


class NameNodes(ir.passes.InPlacePass):
    """Name each node after the module it came from: ``P3/label_aware/backward/0/Conv``.

    Requires the scopes that torch's exporter leaves in the nodes' metadata; a node without (one
    that an optimisation made) is named after the node that feeds it. Afterwards every node has
    a name of its own, the same for the same model on every machine.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with its nodes renamed."""
        seen: Counter[str] = Counter()
        scope_of: dict[ir.Node, str] = {}
        for node in model.graph:
            scope = self._scope(node, scope_of)
            scope_of[node] = scope
            name = f"{scope}/{node.op_type}"
            node.name = f"{name}_{seen[name]}" if seen[name] else name
            seen[name] += 1
        return ir.passes.PassResult(model, modified=True)

    @staticmethod
    def _scope(node: ir.Node, known: dict[ir.Node, str]) -> str:
        text = node.metadata_props.get(SCOPES)
        if text is not None:
            modules = ast.literal_eval(text)[:-1]
            path = str(modules[-1]) if modules else ""
            path = re.sub(r"^(levels|model)\.", "", path).replace("_layers.", ".")
            return re.sub(r"[^A-Za-z0-9_/]", "/", path) or "graph"
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer in known:
                return known[producer]
        return "graph"


class EmbedSpec(ir.passes.InPlacePass):
    """Write the model's description into the graph's metadata, in place of the tracer's notes."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """The model with `ModelSpec` as JSON in its metadata."""
        model.metadata_props.clear()
        model.metadata_props[METADATA_KEY] = self.spec.to_json()
        model.graph.name = self.spec.name
        model.producer_name, model.producer_version = "xedge", ""
        return ir.passes.PassResult(model, modified=True)


def finish(
    model: ir.Model, spec: ModelSpec, algebra: Sequence[ir.passes.InPlacePass] = ALGEBRA
) -> ir.Model:
    """The traced model as it is shipped: named, free of notes and doubles, with its spec inside.

    Args:
        model: What was traced.
        spec: Its description.
        algebra: Passes that make it faster; fewer to see what each brings.
    """
    steps = ir.passes.Sequential(
        FoldConstants(),
        RemoveUnusedNodesPass(),
        *algebra,
        RemoveUnusedNodesPass(),
        # LA's rotated kernels are made once a level: alike, and large.
        DeduplicateInitializersPass(size_limit=1 << 26),
        NameNodes(),
        ClearMetadataAndDocStringPass(),
        EmbedSpec(spec),
    )
    return steps(model).model
