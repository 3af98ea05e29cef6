"""The rig of ADS: the server of xedge plays the PLC, Beckhoff's library the client."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from xedge.control.ads import AdsBus, AdsOptions, AdsPort


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def ads(tmp_path: Path) -> Iterator[SimpleNamespace]:
    pytest.importorskip("pyads", reason="needs pyads (extra `ads`)")
    options = AdsOptions(port=free_port(), timeout_s=2.0)
    bus, port = AdsBus(options), AdsPort(options)
    try:
        port.connect()
        yield SimpleNamespace(bus=bus, port=port, serves=False, secrets=())
    finally:
        bus.close()
        port.close()


RIGS = {"ads": ads}
