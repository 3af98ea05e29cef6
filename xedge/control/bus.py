"""The seam to the wire: what both ends of every bus do, and how secrets are kept.

A kind of bus is three things in one module: a frozen dataclass of options, a `Bus` for the lane
and a `PlcPort` for whoever plays the PLC (`xedge sim-plc`, the tests). Both take the options alone.
"""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xedge.errors import BusError, ConfigError


class Bus(Protocol):
    """Carries one decision image to a PLC and its command image back.

    A bus belongs to one thread, and no call takes much longer than the time-out it was set up with.
    It does not repeat, reconnect or interpret anything: `xedge.control.link.Link` does. ``str()``
    names it for people: kind and address, never a secret.
    """

    def connect(self) -> None:
        """Make the bus ready, from new or after an error; at once when it is ready already.

        Raises:
            BusError: When the peer cannot be reached; `BusRefused` when it turns us away.
        """
        ...

    def write(self, image: bytes) -> None:
        """Show the PLC this decision image, in one block; an error leaves the old or the new one.

        Args:
            image: `image.IMAGE_BYTES` bytes, the high byte of each word first.

        Raises:
            BusError: When it is not certain that the image has arrived where the PLC reads it. The
                bus must then be closed and connected again.
        """
        ...

    def read(self) -> bytes:
        """The PLC's command image as it stands; `commands.SILENT` while it has written none.

        Whatever the PLC wrote is returned, sound or not, cut or filled with zeros to
        `commands.COMMAND_BYTES`.

        Raises:
            BusError: As in `write`.
        """
        ...

    def close(self) -> None:
        """Let go of the peer; never raises, safe to call twice. `connect` begins anew."""
        ...


class PlcPort(Protocol):
    """The other end of a `Bus`, as a PLC has it; where the lane connects, this is the server."""

    def connect(self) -> None:
        """Make this end ready; a PLC's memory is zero then, as at power-up.

        Where the lane is the server it need not be there yet: `read` and `write` connect.

        Raises:
            BusError: When that is not possible.
        """
        ...

    def read(self) -> bytes:
        """The decision image as it stands, `image.IMAGE_BYTES` bytes; zeros while there is none.

        Raises:
            BusError: When the lane's end is needed for that and does not answer.
        """
        ...

    def write(self, commands: bytes) -> None:
        """Show the lane these `commands.COMMAND_BYTES` bytes, in one block.

        Raises:
            BusError: When the lane's end is needed for that and does not answer.
        """
        ...

    def close(self) -> None:
        """Go away, as at power-off; never raises, safe to call twice. `connect` begins anew."""
        ...


@dataclass(frozen=True)
class Claim:
    """A stretch of somebody's memory that a bus needs for itself; options may list theirs.

    Attributes:
        place: Whose memory it is; the same text for the same memory.
        first: Its first register, byte or the like.
        last: Its last one.
        within: What the place is a part of: a claim on that is one on the place, too.
    """

    place: str
    first: int
    last: int
    within: str = ""

    def __str__(self) -> str:
        return f"{self.first} to {self.last} of {self.place}"

    def overlaps(self, other: Claim) -> bool:
        """True when both cannot have what they need."""
        same = self.place in (other.place, other.within) or other.place == self.within
        return same and self.first <= other.last and other.first <= self.last


def machine(host: str) -> str:
    """One name for all names of this machine; any other in small letters."""
    with suppress(ValueError):
        return "localhost" if ipaddress.ip_address(host).is_loopback else host.lower()
    return host.lower()


def listening(host: str, port: int) -> Claim:
    """The claim of a server on its TCP port, at one address or, as 0.0.0.0 and ::, at all."""
    every = "the TCP ports of this machine"
    if host in ("", "0.0.0.0", "::"):
        return Claim(every, port, port)
    return Claim(f"the TCP ports of {machine(host)}", port, port, every)


class Secret:
    """A password or the like that no repr, log or journal shows.

    It is no dataclass: ``dataclasses.asdict`` of its owner would lay it open.

    Args:
        source: Where it came from, for messages.
        value: The secret.
    """

    __slots__ = ("_value", "source")

    def __init__(self, source: str, value: str) -> None:
        self.source, self._value = source, value

    def __repr__(self) -> str:
        return f"Secret({self.source!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.source, self._value) == (other.source, other._value)

    def __hash__(self) -> int:
        return hash(self.source)

    def reveal(self) -> str:
        """The secret itself, for the library that needs it and for nobody else."""
        return self._value

    @staticmethod
    def from_file(path: str | os.PathLike[str]) -> Secret:
        """The first line of a file that only its owner can read.

        Raises:
            ConfigError: When it cannot be read, is empty, or others may read it.
        """
        path = Path(path)
        try:
            require_private(path)
            value = path.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the secret in {path} cannot be read", found=type(error).__name__,
                              remedy="Name a file with one line of text") from error  # fmt: skip
        if not value:
            raise ConfigError(f"the secret in {path} is empty", expected="one line of text")
        return Secret(str(path), value)

    @staticmethod
    def from_environment(name: str) -> Secret:
        """The value of an environment variable.

        Raises:
            ConfigError: When it is not set, or empty.
        """
        value = os.environ.get(name, "")
        if not value:
            raise ConfigError(f"the environment variable {name} holds no secret",
                              expected="a value", found="none")  # fmt: skip
        return Secret(f"${name}", value)


def require_private(path: Path) -> None:
    """Return nothing when only its owner can read the secret or key in a file.

    Raises:
        ConfigError: When others may.
        OSError: When there is no such file.
    """
    mode = path.stat().st_mode
    if mode & 0o077:
        raise ConfigError(f"others can read the secret in {path}", expected="mode 600",
                          found=f"{mode & 0o777:o}", remedy=f"chmod 600 {path}")  # fmt: skip


def require_option(kind: str, holds: bool, name: str, expected: str, found: object) -> None:
    """Return nothing when an option of a bus ``holds``.

    Raises:
        ConfigError: When it does not; the message names kind and option.
    """
    if not holds:
        raise ConfigError(f"{kind}: {name} cannot be used", expected=expected, found=str(found))


def overwritten(bus: Bus, expected: str, other: str) -> BusError:
    """The error of a bus that reads another image in the PLC than it wrote.

    Args:
        bus: The bus.
        expected: What is, when all is well.
        other: What else may have written there.
    """
    return BusError(
        f"{bus}: the decision image in the PLC is not what was written",
        expected=expected,
        remedy=f"Look for another {other}, or for a PLC that was restarted",
    )


def fit(data: bytes, size: int) -> bytes:
    """Bytes cut or filled with zeros to a size, as `Bus.read` returns them."""
    return data[:size].ljust(size, b"\0")
