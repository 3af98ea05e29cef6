"""Beckhoff ADS: the lane is the client, and the images are two variables of the PLC's program.

The variables are ``ARRAY [0..96] OF WORD`` and ``ARRAY [0..18] OF WORD``. A TwinCAT keeps the low
byte of a word first: each word is swapped on its way, so that the program sees the words of the
table in `image`. An image is one write by handle, which the PLC takes between two of its cycles.

pyads drives Beckhoff's own library. That has one router for the whole process, and a connection
to a PLC that does not answer may hold it for minutes: every call is made in a thread that is left
behind when it takes too long. The PLC's end is a server of our own for two variables, for the one
of pyads keeps every request that it ever got.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import queue
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLong
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xedge.control.ads_server import AdsServer
from xedge.control.bus import Claim, fit, machine, overwritten, require_option
from xedge.control.commands import COMMAND_BYTES, SILENT
from xedge.control.image import IMAGE_BYTES
from xedge.errors import BusError, BusNotInstalled, BusRefused

if TYPE_CHECKING:
    import pyads

T = TypeVar("T")

GRACE_S: Final = 0.25
"""Beyond its time-out, for the library to say by itself that it took too long."""
NO_ACCESS: Final = {30, 1796}
"""Error codes that speak of rights: secure ADS denied, reading or writing not permitted."""
NO_SYMBOL: Final = 1808

_NET_ID: Final = re.compile(r"\d{1,3}(\.\d{1,3}){5}")
_SYMBOL: Final = re.compile(r"[A-Za-z_][\w.\[\]]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class AdsOptions:
    """Where a PLC keeps the images.

    Attributes:
        host: Address of the PLC.
        port: Its TCP port.
        net_id: Its AMS NetId; empty takes the address and ``.1.1``.
        ams_port: AMS port of the PLC's runtime: 851 for the first of TwinCAT 3, 801 for TwinCAT 2.
        local_net_id: Our AMS NetId, which the PLC has a route to; empty takes our address and
            ``.1.1``. All ADS buses of a process have the same.
        image_symbol: Name of the variable that the lane writes.
        command_symbol: Name of the variable that the lane reads.
        timeout_s: Seconds that one call may take.

    Raises:
        ConfigError: When one of them cannot be used.
    """

    host: str = "127.0.0.1"
    port: int = 48_898
    net_id: str = ""
    ams_port: int = 851
    local_net_id: str = ""
    image_symbol: str = "GVL_Xedge.Image"
    command_symbol: str = "GVL_Xedge.Commands"
    timeout_s: float = 1.0

    def __post_init__(self) -> None:
        require = partial(require_option, "ads")
        require(bool(self.host) and ":" not in self.host, "host", "a name or an IPv4 address",
                self.host or "nothing")  # fmt: skip
        for name in ("port", "ams_port"):
            value = getattr(self, name)
            require(0 < value < 65_536, name, "1 to 65535", value)
        require(bool(self.net_id) or _is_address(self.host), "net_id",
                "the PLC's AMS NetId, as host is no address", "nothing")  # fmt: skip
        for name in ("net_id", "local_net_id"):
            value = getattr(self, name)
            known = not value or (
                _NET_ID.fullmatch(value) and all(int(part) < 256 for part in value.split("."))
            )
            require(bool(known), name, "six numbers with dots, 192.168.0.5.1.1 say", value)
        for name in ("image_symbol", "command_symbol"):
            value = getattr(self, name)
            require(bool(_SYMBOL.fullmatch(value)), name, "the name of a variable", value)
        # TwinCAT does not tell capitals from small letters.
        require(self.image_symbol.lower() != self.command_symbol.lower(), "command_symbol",
                "another variable than image_symbol", self.command_symbol)  # fmt: skip
        require(math.isfinite(self.timeout_s) and self.timeout_s > 0, "timeout_s", "above 0",
                self.timeout_s)  # fmt: skip

    @property
    def waits_s(self) -> float:
        """Seconds for which a call may wait for the network."""
        return self.timeout_s

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The variables of the decision image and of the command image."""
        runtime = f"{machine(self.host)}:{self.port}, AMS port {self.ams_port}"
        return (
            Claim(f"{self.image_symbol.lower()} of {runtime}", 0, IMAGE_BYTES - 1),
            Claim(f"{self.command_symbol.lower()} of {runtime}", 0, COMMAND_BYTES - 1),
        )

    def __str__(self) -> str:
        return f"ADS {self.image_symbol}, {self.command_symbol} at {self.host}:{self.port}"


def _is_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False


def swapped(data: bytes) -> bytes:
    """The bytes of 16-bit words, the other byte of each first.

    >>> swapped(bytes([1, 2, 3, 4])).hex()
    '02010403'
    """
    out = bytearray(data)
    out[0::2], out[1::2] = data[1::2], data[0::2]
    return bytes(out)


class _Caller:
    """A thread that makes calls one after another; who waits for one too long leaves it behind."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        # A daemon: a call that hangs must not keep the process from its end.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def call(self, function: Callable[[], T], limit_s: float) -> T:
        """What a function returns, or raises; TooLong when that takes longer than the limit."""
        future: Future[T] = Future()
        self._jobs.put((future, function))
        return future.result(limit_s)

    def end(self, last: Callable[[], object], limit_s: float) -> None:
        """Make a last call, waiting for it no longer than this, and end."""
        try:
            with contextlib.suppress(Exception):  # whatever it is, the thread ends
                self.call(last, limit_s)
        finally:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                future.set_result(function())
            except BaseException as error:  # it belongs to who called
                future.set_exception(error)


@dataclass(frozen=True)
class _Open:
    """A connection and the handles of the two variables."""

    connection: pyads.Connection
    image: int
    commands: int


class AdsBus:
    """The lane's end.

    Args:
        options: Where the variables are.

    Raises:
        BusNotInstalled: When pyads or Beckhoff's library is absent.
    """

    def __init__(self, options: AdsOptions) -> None:
        self.options = options
        try:
            import pyads
        except (ModuleNotFoundError, OSError) as error:  # OSError: without its library
            raise BusNotInstalled("ADS needs the package pyads",
                                  remedy="Run: pip install 'xedge[ads]'") from error  # fmt: skip
        self._pyads = pyads
        self._caller: _Caller | None = None
        self._open: _Open | None = None
        self._made: list[pyads.Connection] = []  # by the caller's thread, which closes them
        self._written: bytes | None = None

    def __str__(self) -> str:
        return str(self.options)

    def connect(self) -> None:
        """Connect and find the variables; see `xedge.control.bus.Bus.connect`."""
        if self._open is not None:
            return
        self._caller, self._made = _Caller(f"xedge-{self}"), []
        made = self._made
        with self._failing("the PLC's variables are not to be had",
                           "Check the PLC, and that it has a route to this machine"):  # fmt: skip
            self._open = self._caller.call(lambda: self._connect(made), self._limit_s)

    @property
    def _limit_s(self) -> float:
        return self.options.timeout_s + GRACE_S

    def _connect(self, made: list[pyads.Connection]) -> _Open:
        options, ads = self.options, self._pyads
        if options.local_net_id:
            ads.set_local_address(options.local_net_id)
        connection = ads.Connection(options.net_id or f"{options.host}.1.1", options.ams_port,
                                    f"{options.host}:{options.port}")  # fmt: skip
        connection.open()
        made.append(connection)
        connection.set_timeout(max(1, round(options.timeout_s * 1000)))
        return _Open(
            connection,
            connection.get_handle(options.image_symbol),
            connection.get_handle(options.command_symbol),
        )

    def write(self, image: bytes) -> None:
        """Write the image into its variable; see `xedge.control.bus.Bus.write`."""
        caller, opened = self._ready()
        ads = self._pyads.constants
        with self._failing("the image was not taken"):
            caller.call(
                lambda: opened.connection.write(
                    ads.ADSIGRP_SYM_VALBYHND, opened.image, swapped(image),
                    ads.PLCTYPE_BYTE * len(image),
                ),
                self._limit_s,
            )  # fmt: skip
        self._written = image

    def read(self) -> bytes:
        """The commands in their variable; see `xedge.control.bus.Bus.read`."""
        caller, opened = self._ready()
        written = self._written
        with self._failing("the commands were not read"):
            shown, commands = caller.call(
                lambda: (
                    self._value(opened, opened.image, IMAGE_BYTES) if written is not None else None,
                    self._value(opened, opened.commands, COMMAND_BYTES),
                ),
                self._limit_s,
            )
            if shown != written:
                raise overwritten(
                    self, "one writer of this variable, and a PLC that keeps it", "client"
                )
        return commands

    def _value(self, opened: _Open, handle: int, size: int) -> bytes:
        ads = self._pyads.constants
        kind = ads.PLCTYPE_BYTE * size
        return swapped(bytes(opened.connection.read(ads.ADSIGRP_SYM_VALBYHND, handle, kind)))

    def close(self) -> None:
        """Let go of the PLC; see `xedge.control.bus.Bus.close`."""
        self._let_go(sound=True)

    def _let_go(self, *, sound: bool) -> None:
        caller, opened, made = self._caller, self._open, self._made
        self._caller = self._open = self._written = None
        if caller is None:
            return

        def last() -> None:
            if opened is not None and sound:
                with contextlib.suppress(self._pyads.ADSError):
                    opened.connection.release_handle(opened.image)
                    opened.connection.release_handle(opened.commands)
            for connection in made:
                connection.close()

        caller.end(last, self._limit_s if sound else GRACE_S)

    def _ready(self) -> tuple[_Caller, _Open]:
        if self._caller is None or self._open is None:
            raise BusError(f"{self}: not connected", remedy="Call connect() first")
        return self._caller, self._open

    @contextlib.contextmanager
    def _failing(self, what: str, remedy: str = "Check the network and the PLC") -> Iterator[None]:
        """Map what pyads raises; a connection that failed once is not used again."""
        try:
            yield
        except BusError:
            self._let_go(sound=True)
            raise
        except TooLong as error:
            self._let_go(sound=False)
            raise BusError(f"{self}: {what}", expected=f"an answer in {self.options.timeout_s} s",
                           found="none", remedy=remedy) from error  # fmt: skip
        except (self._pyads.ADSError, RuntimeError, OSError) as error:
            self._let_go(sound=False)
            code = getattr(error, "err_code", None)
            kind = BusRefused if code in NO_ACCESS else BusError
            if code == NO_SYMBOL:
                options = self.options
                remedy = f"Declare {options.image_symbol} and {options.command_symbol} in the PLC"
            said = str(error).removeprefix("ADSError: ").rstrip(". ")
            raise kind(f"{self}: {what}", found=said, remedy=remedy) from error


class AdsPort:
    """The PLC's end: a server with the two variables.

    Args:
        options: Where it listens, and the names of the variables.
    """

    def __init__(self, options: AdsOptions) -> None:
        self.options = options
        self._server: AdsServer | None = None

    def __str__(self) -> str:
        return f"PLC of {self.options}"

    def connect(self) -> None:
        """Start with zeroed variables; see `xedge.control.bus.PlcPort.connect`."""
        if self._server is not None:
            return
        options = self.options
        try:
            self._server = AdsServer(
                options.host, options.port,
                {options.image_symbol: IMAGE_BYTES, options.command_symbol: COMMAND_BYTES},
            )  # fmt: skip
        except OSError as error:
            raise BusError(
                f"{self}: the port cannot be opened", found=error.strerror or str(error),
                remedy="Choose another port, or end what uses it",
            ) from error  # fmt: skip

    def read(self) -> bytes:
        """The decision image in its variable; see `xedge.control.bus.PlcPort.read`."""
        if self._server is None:
            return bytes(IMAGE_BYTES)
        return swapped(self._server.get(self.options.image_symbol))

    def write(self, commands: bytes) -> None:
        """Put commands into their variable; see `xedge.control.bus.PlcPort.write`."""
        if self._server is not None:
            value = swapped(fit(commands, len(SILENT)))
            self._server.put(self.options.command_symbol, value)

    def close(self) -> None:
        """Stop; see `xedge.control.bus.PlcPort.close`."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
