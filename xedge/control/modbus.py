"""Modbus TCP: the images as holding registers, in either role.

    role = "client"   the lane writes the image into the PLC's registers (function 16, one request)
                      and reads the command image there (function 3). The PLC is the server.
    role = "server"   the lane is the server: the PLC reads the image (function 3) and writes the
                      command image (function 16). The image cannot be written from outside.

Modbus knows no passwords and no encryption: whoever reaches the port can write. The CRC, the
sequence and the heartbeat show most of that, the network has to keep it out.

As a client the lane also reads its image back, so that another master that writes the same
registers, and a PLC that has lost its memory, show as an error, and the image is written again.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from xedge.control.bus import Claim, fit, listening, machine, overwritten
from xedge.control.commands import COMMAND_BYTES, COMMAND_WORDS, SILENT
from xedge.control.image import IMAGE_BYTES, IMAGE_WORDS
from xedge.control.modbus_server import RegisterServer
from xedge.control.words import to_bytes, to_words
from xedge.errors import BusError, BusNotInstalled, BusRefused, ConfigError

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

REGISTERS: Final = 65536
EVERY_UNIT: Final = (0, 255)
"""Units that mean whoever answers at an address, and so any unit there."""


@dataclass(frozen=True, kw_only=True)
class ModbusOptions:
    """Where the registers are.

    Attributes:
        role: What the lane is: ``client`` of the PLC, or the ``server`` that the PLC asks.
        host: As a client the PLC's name or address; as a server the address to listen at.
        port: TCP port; 502 is the standard's, and needs rights on most systems.
        unit: Unit identifier as a client; a server answers to all.
        image_address: First holding register of the decision image, counted from 0.
        command_address: First holding register of the command image.
        timeout_s: Seconds that a connection or an answer may take.

    Raises:
        ConfigError: When a number cannot be, or the two images overlap.
    """

    role: Literal["client", "server"] = "client"
    host: str = "127.0.0.1"
    port: int = 502
    unit: int = 1
    image_address: int = 0
    command_address: int = 200
    timeout_s: float = 1.0

    def __post_init__(self) -> None:
        if self.role not in ("client", "server"):
            raise ConfigError("a Modbus role cannot be used", expected="client or server",
                              found=repr(self.role))  # fmt: skip
        for name, least, most in (
            ("port", 1, 65535),
            ("unit", 0, 255),
            ("image_address", 0, REGISTERS - IMAGE_WORDS),
            ("command_address", 0, REGISTERS - COMMAND_WORDS),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"Modbus' {name} cannot be used",
                                  expected=f"{least} to {most}",
                                  found=str(getattr(self, name)))  # fmt: skip
        if not 0 < self.timeout_s <= 60:
            raise ConfigError("Modbus' timeout_s cannot be used",
                              expected="above 0, up to 60", found=str(self.timeout_s))  # fmt: skip
        image, commands, *_ = self.claims
        if image.overlaps(commands):
            raise ConfigError(
                "the register map overlaps",
                expected="the decision image and the command image apart",
                found=f"registers {image.first} to {image.last} and "
                f"{commands.first} to {commands.last}",
                remedy=f"Set command_address to {image.last + 1} or more",
            )

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The registers of the decision image and of the command image; a server's port."""
        place, within = f"the registers of {machine(self.host)}:{self.port}", ""
        if self.role == "client" and self.unit not in EVERY_UNIT:
            # Behind a gateway each unit is another PLC.
            place, within = f"{place}, unit {self.unit}", place
        image, commands = self.image_address, self.command_address
        ports = (listening(self.host, self.port),) if self.role == "server" else ()
        return (
            Claim(place, image, image + IMAGE_WORDS - 1, within),
            Claim(place, commands, commands + COMMAND_WORDS - 1, within),
            *ports,
        )

    @property
    def waits_s(self) -> float:
        """Seconds for which a call may wait for the network; a server waits for nobody."""
        return self.timeout_s if self.role == "client" else 0.0

    def __str__(self) -> str:
        return f"modbus {self.role} {self.host}:{self.port}"


class ModbusBus:
    """The lane's end; see `xedge.control.bus.Bus`.

    Args:
        options: Where the registers are.

    Raises:
        BusNotInstalled: When pymodbus is absent.
    """

    def __init__(self, options: ModbusOptions) -> None:
        _check_installed()
        self._options = options
        self._end: _Master | RegisterServer
        if options.role == "client":
            self._end = _Master(options)
        else:
            self._end = RegisterServer(
                str(options), (options.host, options.port), options.timeout_s,
                own=(options.image_address, IMAGE_WORDS),
                foreign=(options.command_address, COMMAND_WORDS),
            )  # fmt: skip
        self._written: bytes | None = None

    def __str__(self) -> str:
        return str(self._options)

    def connect(self) -> None:
        """Make the bus ready; see `xedge.control.bus.Bus.connect`."""
        self._end.connect()

    def write(self, image: bytes) -> None:
        """Write the image in one request; see `xedge.control.bus.Bus.write`."""
        self._end.write(self._options.image_address, to_words(image))
        self._written = image

    def read(self) -> bytes:
        """The command image; see `xedge.control.bus.Bus.read`."""
        if isinstance(self._end, _Master) and self._written is not None:
            shown = to_bytes(self._end.read(self._options.image_address, IMAGE_WORDS))
            if shown != self._written:
                raise overwritten(
                    self, "one master for these registers, and a PLC that keeps them", "master"
                )
        words = self._end.read(self._options.command_address, COMMAND_WORDS)
        return fit(to_bytes(words), COMMAND_BYTES)

    def close(self) -> None:
        """Let go of the peer."""
        self._written = None
        self._end.close()


class ModbusPort:
    """The PLC's end; see `xedge.control.bus.PlcPort`.

    Args:
        options: Those of the lane's end.

    Raises:
        BusNotInstalled: When pymodbus is absent.
    """

    def __init__(self, options: ModbusOptions) -> None:
        _check_installed()
        self._options = options
        self._end: _Master | RegisterServer
        if options.role == "server":
            self._end = _Master(options, by_itself=True)
        else:
            self._end = RegisterServer(
                str(options), (options.host, options.port), options.timeout_s,
                own=(options.command_address, COMMAND_WORDS),
                foreign=(options.image_address, IMAGE_WORDS),
            )  # fmt: skip

    def __str__(self) -> str:
        return f"PLC of {self._options}"

    def connect(self) -> None:
        """Make this end ready; see `xedge.control.bus.PlcPort.connect`."""
        self._end.connect()

    def read(self) -> bytes:
        """The decision image; see `xedge.control.bus.PlcPort.read`."""
        return fit(to_bytes(self._end.read(self._options.image_address, IMAGE_WORDS)), IMAGE_BYTES)

    def write(self, commands: bytes) -> None:
        """Show the lane a command image; see `xedge.control.bus.PlcPort.write`."""
        self._end.write(self._options.command_address, to_words(fit(commands, len(SILENT))))

    def close(self) -> None:
        """Go away."""
        self._end.close()


class _Master:
    """A client of registers somewhere else; with ``by_itself`` it connects when it is used."""

    def __init__(self, options: ModbusOptions, by_itself: bool = False) -> None:
        self._options, self._by_itself = options, by_itself
        self._client: ModbusTcpClient | None = None
        self._ready = False

    def connect(self) -> None:
        self._ready = True
        if self._client is None and not self._by_itself:
            self._dial()

    def _dial(self) -> ModbusTcpClient:
        from pymodbus.client import ModbusTcpClient

        options = self._options
        client = ModbusTcpClient(
            options.host, port=options.port, timeout=options.timeout_s, retries=0
        )
        if not client.connect():  # type: ignore[no-untyped-call]
            client.close()  # type: ignore[no-untyped-call]
            raise BusError(
                f"{options}: the server cannot be reached",
                remedy="Check that it runs, its address and port, and the network",
            )
        self._client = client
        return client

    def read(self, address: int, count: int) -> list[int]:
        answer = self._ask("read", address, count)
        registers: list[int] = answer.registers
        if len(registers) != count:
            raise BusError(f"{self._options}: the server answered with too few registers",
                           expected=str(count), found=str(len(registers)))  # fmt: skip
        return registers

    def write(self, address: int, words: tuple[int, ...]) -> None:
        self._ask("write", address, list(words))

    def _ask(self, what: str, address: int, content: Any) -> Any:
        from pymodbus.exceptions import ModbusException

        client, unit = self._client, self._options.unit
        if client is None and self._ready and self._by_itself:
            client = self._dial()
        if client is None or not client.connected:
            # The library would connect again by itself, and nobody would know.
            raise BusError(f"{self._options}: not connected", remedy="Call connect() first")
        try:
            if what == "read":
                answer = client.read_holding_registers(address, count=content, device_id=unit)
            else:
                answer = client.write_registers(address, content, device_id=unit)
        except (ModbusException, OSError) as error:
            self._hang_up()
            raise BusError(
                f"{self._options}: the connection was lost, or an answer took longer than "
                f"{self._options.timeout_s} s",
                remedy="Check the server and the network",
            ) from error
        if answer.isError():
            raise BusRefused(
                f"{self._options}: the server refused to {what} registers from {address}",
                found=f"exception code {getattr(answer, 'exception_code', '?')}",
                remedy="Check the addresses against the server's map of holding registers",
            )
        return answer

    def close(self) -> None:
        self._ready = False
        self._hang_up()

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]


def _check_installed() -> None:
    """Nothing, when the library is there.

    Raises:
        BusNotInstalled: When it is not.
    """
    try:
        importlib.import_module("pymodbus.client")
    except ModuleNotFoundError as error:
        raise BusNotInstalled(
            "Modbus needs the package 'pymodbus', which is not installed",
            remedy="pip install 'xedge[modbus]'",
        ) from error
