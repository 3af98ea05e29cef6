"""What `xedge compile` chose for a bundle on this machine, remembered beside the engines.

A choice holds while the library and the device are the ones that it was measured on.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from xedge import engines
from xedge.engines.cache import EngineCache
from xedge.errors import EngineError


@dataclass(frozen=True)
class Chosen:
    """How a model is run.

    Attributes:
        engine: Name of the back end.
        variant: Whose golden outputs it reproduces.
        graph: The variant whose ONNX file is loaded; another one than ``variant`` where the back
            end lowers the precision by itself.
    """

    engine: str
    variant: str
    graph: str


def _facts(bundle_sha256: str, asked: str) -> dict[str, str]:
    return {"kind": "choice", "bundle": bundle_sha256, "engine": asked}


def remember(cache: EngineCache, bundle_sha256: str, asked: str, chosen: Chosen) -> None:
    """Keep a choice.

    Args:
        cache: Where engines are kept.
        bundle_sha256: Of the bundle's file.
        asked: The name of an engine that was asked for, ``auto`` for one.
        chosen: What to use when that is asked for again.

    Raises:
        EngineCacheError: When it cannot be written.
    """
    record = {**dataclasses.asdict(chosen), "fingerprint": engines.fingerprint(chosen.engine)}
    cache.put(_facts(bundle_sha256, asked), json.dumps(record, sort_keys=True).encode())


def recall(cache: EngineCache, bundle_sha256: str, asked: str) -> Chosen | None:
    """The choice that was kept; None when there is none, or library or device are others now."""
    data = cache.get(_facts(bundle_sha256, asked))
    if data is None:
        return None
    try:
        record = json.loads(data)
        fingerprint = record.pop("fingerprint")
        chosen = Chosen(**record)
        valid = engines.fingerprint(chosen.engine) == fingerprint
    except (ValueError, TypeError, KeyError, AttributeError, EngineError):
        return None  # another version of xedge wrote it, or its library is gone
    return chosen if valid else None
