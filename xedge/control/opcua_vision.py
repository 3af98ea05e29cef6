"""A lane in the words of the companion specification Machine Vision (OPC 40100-1).

The specification's nodeset is a file of the OPC Foundation that the user has; nothing of it is
shipped. A `VisionSystemType` is made from it, its state machine follows the lane, and every
decision is told as a `ResultReadyEventType`. Recipes, configurations, results to be fetched later
and the methods of the state machine, all optional or answered with Bad_NotSupported, are not there:
a lane takes its commands from its command image alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xedge.control.image import Header, LaneState, Place
from xedge.errors import ConfigError

if TYPE_CHECKING:
    from asyncua import Server

NAMESPACE: Final = "http://opcfoundation.org/UA/MachineVision"

STATES: Final = {
    LaneState.DOWN: "Halted",
    LaneState.STARTING: "Preoperational",
    LaneState.RUNNING: "Operational",
    LaneState.DRAINING: "Operational",
    LaneState.STOPPED: "Preoperational",
    LaneState.CONTROL_LOST: "Error",
    LaneState.FAULT: "Error",
}
"""A lane's state to one of VisionStateMachine."""

COMPLETED: Final = 1
"""ResultStateDataType: "Completed, processing was carried out completely"."""


class VisionSystem:
    """The instance of VisionSystemType in a server's nodes; made by `install`."""

    def __init__(self, server: Server, machine: Any, states: dict[str, Any], events: Any) -> None:
        self._server, self._machine, self._states, self._events = server, machine, states, events
        self._state = ""
        self._told: frozenset[tuple[int, Place]] = frozenset()

    @staticmethod
    async def install(server: Server, nodeset: Path) -> VisionSystem:
        """A vision system in the nodes of a server that has not been started.

        Args:
            server: The server.
            nodeset: Opc.Ua.MachineVision.NodeSet2.xml of the OPC Foundation.

        Raises:
            ConfigError: When the file cannot be used.
        """
        from asyncua import ua

        try:
            await server.import_xml(str(nodeset))
            index = await server.get_namespace_index(NAMESPACE)
            types, events = server.nodes.base_object_type, server.nodes.base_event_type
            kind = await types.get_child([f"{index}:VisionSystemType"])
            machine_kind = await types.get_child(
                [
                    "0:StateMachineType",
                    "0:FiniteStateMachineType",
                    f"{index}:VisionStateMachineType",
                ]
            )
            ready = await events.get_child([f"{index}:ResultReadyEventType"])
            states = {
                name: (await machine_kind.get_child([f"{index}:{name}"])).nodeid
                for name in set(STATES.values())
            }
            vision = await server.nodes.objects.add_object(
                ua.NodeId("VisionSystem", index), ua.QualifiedName("VisionSystem", index),
                kind.nodeid, instantiate_optional=False,
            )  # fmt: skip
            machine = await vision.get_child([f"{index}:VisionStateMachine"])
            generator = await server.get_event_generator(ready, vision)
        except Exception as error:  # an XML of anybody's, through a library's importer
            raise ConfigError(
                f"opcua: the nodeset {nodeset} cannot be used",
                expected="Opc.Ua.MachineVision.NodeSet2.xml of the OPC Foundation",
                found=type(error).__name__,
                remedy="Get it from the OPC Foundation, or leave vision_nodeset out",
            ) from error
        made = VisionSystem(server, machine, states, generator)
        for name in ("Halt", "Reset"):
            method = await machine.get_child([f"{index}:{name}"])
            server.link_method(method, _not_supported)
        await made.show(None, ())
        return made

    async def show(self, header: Header | None, places: Sequence[Place | None]) -> None:
        """Follow an image: the state, and a result for every decision that is new in it."""
        state = STATES[header.state] if header is not None else STATES[LaneState.DOWN]
        if state != self._state:
            await self._enter(state)
        if header is None:
            self._told = frozenset()
            return
        standing = frozenset((header.epoch, place) for place in places if place is not None)
        for epoch, place in sorted(standing - self._told, key=lambda new: new[1].bag):
            await self._tell(epoch, place)
        self._told = standing

    async def _enter(self, state: str) -> None:
        from asyncua import ua

        current = await self._machine.get_child(["0:CurrentState"])
        await (await current.get_child(["0:Id"])).write_value(self._states[state])
        await current.write_value(ua.LocalizedText(state))
        self._state = state

    async def _tell(self, epoch: int, place: Place) -> None:
        from asyncua import ua

        content = [ua.Variant(place.verdict.name), ua.Variant(place.reason.name)]
        for encoder in (place.head, place.tail, place.valid_until):
            content.append(ua.Variant(encoder, ua.VariantType.Int32))
        # With their types: asyncua does not find those that the specification derives itself.
        kind, event = ua.VariantType, self._events.event
        result = ua.ResultIdDataType(Id=f"{epoch}-{place.bag}")
        event.add_property("ResultId", result, kind.ExtensionObject)
        event.add_property("ResultState", COMPLETED, kind.Int32)
        event.add_property("IsPartial", False, kind.Boolean)
        event.add_property("IsSimulated", False, kind.Boolean)
        now = datetime.datetime.now(datetime.timezone.utc)
        event.add_property("CreationTime", now, kind.DateTime)
        event.add_property("ResultContent", content, kind.Variant)
        await self._events.trigger(message=f"bag {place.bag}: {place.verdict.name}")


async def _not_supported(parent: Any, *arguments: Any) -> Any:
    from asyncua import ua

    return ua.StatusCode(ua.StatusCodes.BadNotSupported)
