"""What systemd is told: that a service is ready, what it does, and that it still works.

The protocol is one datagram of text to the socket that NOTIFY_SOCKET names; see sd_notify(3).
Outside systemd nothing is sent.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable


def notify(**said: str | int) -> bool:
    """True when systemd was told; ``notify(READY=1, STATUS="screening")``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    text = "\n".join(f"{name}={value}" for name, value in said.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            # A name that begins with @ is in Linux' abstract namespace.
            to.sendto(text.encode(), address.replace("@", "\0", 1))
    except OSError:  # systemd going away must not stop a lane
        return False
    return True


def watchdog_s() -> float | None:
    """Seconds within which systemd wants a sign of life; None when it wants none."""
    wanted, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or int(wanted) == 0 or (pid.isdigit() and int(pid) != os.getpid()):
        return None
    return int(wanted) / 1e6


class Watchdog:
    """Tells systemd that a lane works, as long as it does; a context manager.

    Args:
        ping: Makes the lane work once.
        quiet_s: Seconds since the lane last worked.
        limit_s: Seconds within which systemd wants a sign of life; None starts nothing.
    """

    def __init__(
        self, ping: Callable[[], None], quiet_s: Callable[[], float], limit_s: float | None
    ) -> None:
        self._ping, self._quiet_s, self._limit_s = ping, quiet_s, limit_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xedge-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if self._limit_s is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._limit_s is not None
        while not self._stop.is_set():
            self._ping()
            # Half the limit, as systemd's manual advises; a ping of before must have been handled.
            self._stop.wait(self._limit_s / 2)
            if self._quiet_s() < self._limit_s / 2:
                notify(WATCHDOG=1)
