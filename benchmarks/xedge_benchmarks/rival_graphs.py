"""Files that contenders read, made before any of them starts: their memory is then their own.

Nothing heavy is imported before a form needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xedge_benchmarks.contenders import noise
from xedge_benchmarks.hosts import HOSTS, Host
from xedge_benchmarks.rivals import NNCF, PLAIN
from xedge_benchmarks.shelf import Shelf


def make_file(name: str, form: str, shelf: Shelf, folder: Path) -> Path:
    """The file of a host's graph in a form, in ``folder``.

    Args:
        name: Of the host.
        form: `PLAIN`, `NNCF`, or a key of `FORMS_OF`.
        shelf: Where graphs are kept for other runs.
        folder: Of this run.

    Raises:
        Exception: Whatever the library that makes it raises.
    """
    host = HOSTS[name]
    path = folder / f"{name}-{form}.onnx"
    if path.exists():
        return path
    if form == PLAIN:
        path.write_bytes(shelf.take(f"{name}-{form}", lambda: _plain(host)))
        return path
    first = path if form == "fp32" else make_file(name, "fp32", shelf, folder)
    if form == NNCF:
        return _by_nncf(first, folder / f"{name}-{form}.xml")
    make: Callable[[], bytes] = host.graph if form == "fp32" else lambda: _formed(first, form)
    path.write_bytes(shelf.take(f"{name}-{form}", make))
    return path


def _formed(graph: Path, form: str) -> bytes:
    from xedge_benchmarks.speed_graphs import FORMS_OF

    return FORMS_OF[form](graph.read_bytes())


def _plain(host: Host) -> bytes:
    from xedge_benchmarks.torch_rivals import plain_export

    return plain_export(host.subject)


def _by_nncf(graph: Path, path: Path) -> Path:
    """What NNCF makes of a float32 graph by its defaults, as OpenVINO's own files."""
    if path.exists():
        return path
    import nncf
    import openvino

    from xedge_benchmarks.speed_graphs import sides

    planes = [window[None] for window in noise(*sides(graph.read_bytes()))]
    model = nncf.quantize(openvino.Core().read_model(graph), nncf.Dataset(planes))
    openvino.save_model(model, path, compress_to_fp16=False)
    return path
