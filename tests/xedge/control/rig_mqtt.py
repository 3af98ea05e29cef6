"""The rig of MQTT: mosquitto, a lane and a PLC, each with a name and a password."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from xedge.control.bus import Secret
from xedge.control.mqtt import MqttBus, MqttOptions, MqttPort
from xedge.errors import BusError

PASSWORD = "a-word-that-nobody-may-print"
PATIENCE_S = 10.0


class Mosquitto:
    """A broker on loopback, always on the same port; it forgets everything when it ends.

    Args:
        folder: For its files.
        users: Names; all have `PASSWORD`.
        more: Further lines of its configuration.
    """

    def __init__(self, folder: Path, users: tuple[str, ...], more: str = "") -> None:
        found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if found is None:
            pytest.skip("needs mosquitto (on Debian: apt-get install mosquitto)")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        passwords = folder / "passwords"
        passwords.touch(0o600)
        for user in users:
            subprocess.run(["mosquitto_passwd", "-b", passwords, user, PASSWORD], check=True)
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(
            f"per_listener_settings true\nuser root\nlog_dest none\nset_tcp_nodelay true\n"
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"{more}"
        )
        self._program, self._process = found, None
        self.start()

    def start(self) -> None:
        """Run, and take connections."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [self._program, "-c", self._conf], stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert time.monotonic() < until, "mosquitto did not start"
                time.sleep(0.005)

    def stop(self) -> None:
        """End at once, as a broker that crashed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def options(self, user: str = "lane", **changes: object) -> MqttOptions:
        """How this user reaches it."""
        reach = {"host": "127.0.0.1", "port": self.port, "topic": "airport/lane 1", "user": user,
                 "password": Secret("the test", PASSWORD), "timeout_s": PATIENCE_S}  # fmt: skip
        return MqttOptions(**{**reach, **changes})


class PlcWithBroker(MqttPort):
    """A PLC with its broker in one box, so that it can go away as a whole."""

    def __init__(self, broker: Mosquitto) -> None:
        super().__init__(broker.options("plc"))
        self.broker = broker

    def connect(self) -> None:
        self.broker.start()
        super().connect()

    def close(self) -> None:
        super().close()
        self.broker.stop()


@contextmanager
def mqtt(tmp_path: Path) -> Iterator[SimpleNamespace]:
    broker = Mosquitto(tmp_path, ("lane", "plc"))
    bus, port = MqttBus(broker.options("lane")), PlcWithBroker(broker)
    try:
        port.connect()
        yield SimpleNamespace(bus=bus, port=port, serves=False, secrets=(PASSWORD,))
    finally:
        bus.close()
        try:
            port.close()
        except BusError:
            broker.stop()


RIGS = {"mqtt": mqtt}
