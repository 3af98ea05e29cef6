"""Two blocks of holding registers, served over Modbus TCP: the lane's end, or the PLC's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xedge.errors import BusError

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer

# Functions that read or write whole holding registers. Everything else, the coils that the library
# lays over the same registers above all, is refused.
FUNCTIONS: Final = frozenset({3, 6, 16, 23})
ROUNDS: Final = 3
_T = TypeVar("_T")


class RegisterServer:
    """A server of two blocks of registers: one that this end writes, one that the other end does.

    The server has an event loop in a thread of its own. Both blocks are kept here, behind a lock,
    and copied into the library's when a request comes, so that every request sees a whole image.

    Args:
        name: What it is called in errors.
        address: Host and port to listen at.
        timeout_s: Seconds that its loop may take to begin or to end.
        own: First register and number of registers of the block that this end writes.
        foreign: Those of the block that the other end writes.
    """

    def __init__(
        self, name: str, address: tuple[str, int], timeout_s: float, *,
        own: tuple[int, int], foreign: tuple[int, int],
    ) -> None:  # fmt: skip
        self._name, self._address, self._timeout_s = name, address, timeout_s
        self._blocks = {own[0]: [0] * own[1], foreign[0]: [0] * foreign[1]}
        self._own, self._foreign = own, foreign
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ModbusTcpServer | None = None
        self._thread: threading.Thread | None = None

    def connect(self) -> None:
        """Listen, with all registers 0; nothing when it does already.

        Raises:
            BusError: When it cannot.
        """
        if self._server is not None:
            return
        import pymodbus.server  # slow to import: not within the time-out
        import pymodbus.simulator  # noqa: F401

        self._blocks = {block[0]: [0] * block[1] for block in (self._own, self._foreign)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=_turn, args=(self._loop,), name=self._name, daemon=True
        )
        self._thread.start()
        try:
            self._server = self._call(self._serve())
        except BusError:
            self.close()
            raise
        except (RuntimeError, OSError) as error:
            self.close()
            raise BusError(
                f"{self._name}: cannot listen there",
                remedy="Free the port, or name another one; ports below 1024 need rights",
            ) from error

    async def _serve(self) -> ModbusTcpServer:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        blocks = [
            SimData(start, count=size, datatype=DataType.REGISTERS, readonly=start == self._own[0])
            for start, size in (self._own, self._foreign)
        ]
        # Device 0 answers for every unit that is not named.
        device = SimDevice(0, simdata=blocks, action=self._on_request)
        server = ModbusTcpServer(device, address=self._address)
        await server.serve_forever(background=True)
        return server

    async def _on_request(
        self,
        function: int,
        first: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Called by the library before it answers a request."""
        from pymodbus.constants import ExcCodes

        if function not in FUNCTIONS:
            return ExcCodes.ILLEGAL_FUNCTION
        start, size = self._foreign
        at = address - start
        if values is not None and not (len(values) == count and 0 <= at <= at + count <= size):
            return ExcCodes.ILLEGAL_ADDRESS
        with self._lock:
            if values is not None:
                self._blocks[start][at : at + count] = map(int, values)
            for begin, length in (self._own, self._foreign):
                registers[begin - first : begin - first + length] = self._blocks[begin]
        return None

    def read(self, address: int, count: int) -> list[int]:
        """The first registers of the block that begins there."""
        self._check()
        with self._lock:
            return self._blocks[address][:count]

    def write(self, address: int, words: tuple[int, ...]) -> None:
        """Replace the block that begins there.

        Raises:
            BusError: When it has another size, or nothing is served.
        """
        self._check()
        with self._lock:
            if len(words) != len(self._blocks[address]):
                raise BusError(f"{self._name}: an image of the wrong size",
                               expected=f"{len(self._blocks[address])} registers",
                               found=str(len(words)))  # fmt: skip
            self._blocks[address] = list(words)

    def _check(self) -> None:
        if self._server is None:
            raise BusError(f"{self._name}: not connected", remedy="Call connect() first")

    def close(self) -> None:
        """Serve no more; a loop that hangs is left behind after the time-out."""
        server, self._server = self._server, None
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        asyncio.run_coroutine_threadsafe(_wind_up(server), loop)
        thread.join(self._timeout_s)

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What the work returns.

        Raises:
            BusError: When it takes longer than the time-out.
        """
        assert self._loop is not None
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(self._timeout_s)
        except concurrent.futures.TimeoutError as error:
            asked.cancel()
            raise BusError(
                f"{self._name}: its server hangs",
                expected=f"an answer within {self._timeout_s} s",
                remedy="Start the lane again",
            ) from error


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, and close it: nobody else knows when it came back."""
    loop.run_forever()
    loop.close()


async def _wind_up(server: ModbusTcpServer | None) -> None:
    """Stop serving, let connections that were closed say so, and stop the loop."""
    try:
        if server is not None:
            await server.shutdown()  # type: ignore[no-untyped-call]
        # A request that came last becomes a task two rounds of the loop later, in pymodbus: one
        # that the loop stops before would be a coroutine that nobody ever awaited.
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    finally:
        asyncio.get_running_loop().stop()
