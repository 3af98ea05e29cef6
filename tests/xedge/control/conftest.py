"""Rigs: a bus and the PLC's end of it. Each file rig_*.py beside this one adds some to RIGS.

And a proxy that breaks the network between two ends in the ways in which networks break.
"""

from __future__ import annotations

import importlib.util
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest

PATIENCE_S: Final = 60.0
"""How long a test waits for what must come; a loaded machine is slow, not wrong."""


def _load(pattern: str) -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    for path in sorted(Path(__file__).parent.glob(pattern)):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules[path.stem] = module
    return modules


MODULES: Final = _load("rig_*.py")
RIGS: Final[dict[str, Callable[[Path], AbstractContextManager[Any]]]] = {
    name: rig for module in MODULES.values() for name, rig in module.RIGS.items()
}


@pytest.fixture(scope="session")
def rig_modules() -> dict[str, ModuleType]:
    """The files rig_*.py by their stems, for the tests of one bus alone."""
    return MODULES


@pytest.fixture(scope="session")
def rule_scenes() -> ModuleType:
    """The file of that name: what a rule is held against the reference with."""
    return _load("rule_scenes.py")["rule_scenes"]


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], object]], None]:
    """What waits until a function says true, and fails when it never does."""

    def wait(true: Callable[[], object]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < until, "it never came"
            time.sleep(0.005)

    return wait


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A bus of each kind, not connected, and its PLC's end, connected."""
    with RIGS[request.param](tmp_path) as made:
        yield made


class FaultyProxy:
    """A TCP proxy on loopback that is slow, stalls, resets or refuses when it is told to.

    What is sent while it stalls waits in the sockets' own buffers, as behind a dead switch.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._listener: socket.socket | None = None
        self._stalled = self._closed = False
        self._delay_s = 0.0
        self.port = 0
        self.listen()
        self._thread = threading.Thread(target=self._pump, name="faulty-proxy", daemon=True)
        self._thread.start()

    def listen(self) -> None:
        """Take connections (again), always on the same port."""
        with self._lock:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections, and reset those that stand."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
        self.reset()

    def stall(self) -> None:
        """Half-open: connections stand and new ones are taken, but nothing passes."""
        self._stalled = True

    def resume(self) -> None:
        """Let everything pass again."""
        self._stalled = False

    def slow(self, delay_s: float) -> None:
        """Let every piece of data pass only after this time; 0 ends it."""
        self._delay_s = delay_s

    def reset(self) -> None:
        """End every connection by RST, on both sides."""
        with self._lock:
            for one in list(self._peers):
                # Lingering for no time at all makes close() send RST instead of FIN.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.close()
            self._peers.clear()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._thread.join()
        self.refuse()

    def _pump(self) -> None:
        while not self._closed:
            with self._lock:
                # Held for the moment of the look only: a fault must not wait for traffic.
                sources = [] if self._stalled else list(self._peers)
                listening = [self._listener] if self._listener is not None else []
                ready = select.select([*sources, *listening], [], [], 0)[0]
                for source in ready:
                    if source is self._listener:
                        self._take(source)
                    elif source in self._peers:
                        self._forward(source)
            if not ready:
                time.sleep(0.002)
            elif self._delay_s:
                time.sleep(self._delay_s)  # what has come meanwhile goes on together

    def _take(self, listener: socket.socket) -> None:
        near = listener.accept()[0]
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers |= {near: far, far: near}

    def _forward(self, source: socket.socket) -> None:
        sink = self._peers[source]
        try:
            data = source.recv(65536)
            sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (source, sink):
                self._peers.pop(one).close()


@pytest.fixture
def faulty_proxy() -> Iterator[Callable[[int], FaultyProxy]]:
    """What makes a `FaultyProxy` in front of a port of this machine; closed behind the test."""
    with ExitStack() as stack:

        def made(target: int) -> FaultyProxy:
            proxy = FaultyProxy(target)
            stack.callback(proxy.close)
            return proxy

        yield made


@pytest.fixture
def modbus_behind_proxy(
    rig_modules: dict[str, Any], tmp_path: Path, faulty_proxy: Callable[[int], Any]
) -> Iterator[tuple[Any, Any]]:
    """A lane that is client of a PLC, with a proxy between them."""
    module = rig_modules["rig_modbus"]
    with module.client(tmp_path) as rig:
        proxy = faulty_proxy(rig.options.port)
        rig.bus = module.ModbusBus(replace(rig.options, port=proxy.port, timeout_s=0.2))
        yield rig, proxy


@pytest.fixture
def opcua_behind_proxy(
    rig_modules: dict[str, Any], tmp_path: Path, faulty_proxy: Callable[[int], Any]
) -> Iterator[tuple[Any, Any]]:
    """A lane that serves a PLC with certificate and password, with a proxy between them."""
    module = rig_modules["rig_opcua"]
    site = module.Site(tmp_path)
    proxy = faulty_proxy(site.port)
    bus = module.RestartingBus(site.options("lane", "plc"))
    port = module.OpcUaPort(site.options("plc", "lane", port=proxy.port, timeout_s=10.0))
    port.connect()
    yield SimpleNamespace(bus=bus, port=port), proxy
    port.close()
    bus.close()
