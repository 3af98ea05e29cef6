"""The table of buses: what a kind is called, and which module has its options and its two ends."""

from __future__ import annotations

import importlib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from xedge.control.bus import Bus, PlcPort
from xedge.errors import ConfigError


@dataclass(frozen=True)
class BusKind:
    """Where a bus is; its module is imported when it is used, as it may need an extra.

    Attributes:
        module: Its module in `xedge.control`.
        prefix: Of its classes: ``<prefix>Options``, ``<prefix>Bus``, ``<prefix>Port``.
    """

    module: str
    prefix: str

    def _get(self, suffix: str) -> Any:
        return getattr(importlib.import_module(f"xedge.control.{self.module}"),
                       f"{self.prefix}{suffix}")  # fmt: skip

    @property
    def options(self) -> type[Any]:
        """The dataclass of its options; importable without the extra."""
        options: type[Any] = self._get("Options")
        return options

    def bus(self, options: Any) -> Bus:
        """The lane's end.

        Raises:
            BusNotInstalled: When its library is absent.
        """
        bus: Bus = self._get("Bus")(options)
        return bus

    def port(self, options: Any) -> PlcPort:
        """The PLC's end.

        Raises:
            BusNotInstalled: When its library is absent.
        """
        port: PlcPort = self._get("Port")(options)
        return port


BUSES: Final[Mapping[str, BusKind]] = types.MappingProxyType(
    {
        "modbus": BusKind("modbus", "Modbus"),
        "ads": BusKind("ads", "Ads"),
        "mqtt": BusKind("mqtt", "Mqtt"),
        "opcua": BusKind("opcua", "OpcUa"),
        "s7": BusKind("s7", "S7"),
    }
)
"""Kinds by the name that a lane's file uses."""


def bus_kind(name: str) -> BusKind:
    """The kind of this name.

    Raises:
        ConfigError: When there is none.
    """
    if name not in BUSES:
        raise ConfigError(f"there is no bus {name!r}", expected=" or ".join(sorted(BUSES)))
    return BUSES[name]
