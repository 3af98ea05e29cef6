"""Writes tensorrt_names.json: which names the classes of TensorRT's bindings have, by version.

    python tests/xedge/engines/tensorrt_names.py FOLDER

FOLDER holds api-VERSION.json files: every class of the bindings with the names in it, taken from
the installed modules `tensorrt` and `tensorrt_rtx` by `dir()`. What is kept here are names alone,
of the classes that xedge touches.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CLASSES = (
    "Builder", "BuilderFlag", "ComputeCapability", "CudaGraphStrategy", "DataType",
    "EngineValidity", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory",
    "ILogger", "INetworkDefinition", "IProgressMonitor", "IRuntimeCache", "IRuntimeConfig",
    "ITimingCache", "MemoryPoolType", "NetworkDefinitionCreationFlag", "OnnxParser",
    "ParserError", "ProfilingVerbosity", "Runtime", "TensorIOMode",
)  # fmt: skip


def digest(folder: Path) -> dict[str, object]:
    """``versions`` in order, and ``names``: class to name to a digit a version, 1 where it is."""
    dumps = {}
    for path in folder.glob("api-*.json"):
        content = json.loads(path.read_text())
        dumps[path.stem.removeprefix("api-")] = content["api"]
    versions = sorted(dumps, key=lambda v: [int(p) if p.isdigit() else 999 for p in v.split(".")])
    names: dict[str, dict[str, str]] = {}
    for kind in CLASSES:
        found = {v: members(dumps[v].get(kind, {})) for v in versions}
        names[kind] = {
            name: "".join("01"[name in found[v]] for v in versions)
            for name in sorted(set().union(*found.values()))
        }
    return {"versions": versions, "names": names}


def members(record: dict[str, object]) -> set[str]:
    """Names in a class or an enumeration."""
    return {name for part in ("attrs", "enum") for name in record.get(part, ())}  # type: ignore[attr-defined]


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(digest(Path(sys.argv[1])), indent=0, sort_keys=True) + "\n")
