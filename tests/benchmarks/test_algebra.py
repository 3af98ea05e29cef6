"""`xedge bench algebra`; what it measures is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from click.testing import CliRunner
from xedge_benchmarks.algebra import without_own_layer

from xedge.cli import main
from xedge.errors import ConfigError

PLAIN = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y)
<float[1, 1, 1, 1] w = {2.0}> {
    a = Relu (x)
    b = Conv (a, w)
    y = Relu (b)
}
"""


def test_the_own_layer_goes_and_the_rest_stays() -> None:
    model = ir.serde.deserialize_model(onnx.parser.parse_model(PLAIN))
    next(n for n in model.graph if n.op_type == "Conv").name = "own/0/Conv"
    assert [n.op_type for n in without_own_layer(model).graph] == ["Relu", "Relu"]
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)
    with pytest.raises(ConfigError, match="no plain backbone"):
        without_own_layer(model)


@pytest.mark.full
def test_from_end_to_end(tmp_path: Path) -> None:
    models = ["chr-tiny", "--plain", "backbone-tiny", "--engine", "onnxruntime"]
    how = ["--rounds", "2", "--warmup", "0", "--threads", "1"]
    where = ["--scratch", "--json", "--out", str(tmp_path)]
    command = ["bench", "algebra", *models, *how, *where]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    names = [row["name"] for row in json.loads(result.stdout)["results"]["graphs"]]
    assert names == ["plain", "as traced", "+ SplitConcatenations", "+ CommuteUpsampling"]
    rows = json.loads(result.stdout)["results"]["graphs"]
    assert all(row["cpu_ratio"] > 0 and row["against"] == "plain" for row in rows)
    assert rows[1]["ratio_low"] is None  # two rounds bound nothing
