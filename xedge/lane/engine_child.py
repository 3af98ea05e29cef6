"""What runs in an engine's process: one screen, asked by one lane; see `xedge.lane.engine_pipe`.

The kernel ends it with its lane: it alone holds the reading end of a pipe, and asks for SIGKILL
when the last writing end is closed, so that an engine that hangs goes as well.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import pickle
import select
import signal
import sys
from multiprocessing.connection import Connection

from xedge.errors import EngineRunError
from xedge.lane.engine_pipe import ANSWER, REQUEST, Ask, Block, Layout, Say, packed_error
from xedge.lane.selftest import KnowsAnswer, stopped_by
from xedge.types import Detections


def main(control: int, alive: int, memory: int, *layout: int) -> None:
    """Serve one parent until it is gone.

    Args:
        control: Descriptor of the socket.
        alive: Descriptor of the pipe whose other end only the parent has.
        memory: Descriptor of the shared memory.
        layout: The numbers of its `Layout`.
    """
    _end_with(alive)
    # The lane decides when it ends; its terminal or its service manager asks all of a group.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)  # libraries print; what the lane prints is read by programs
    faulthandler.enable()
    connection, block = Connection(control), Block(memory, Layout(*layout))
    # The parent reads no farther than it waits: it has nothing left to say to a child it ended.
    gone = contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError)
    with gone, contextlib.ExitStack() as stack:
        try:
            screen = stack.enter_context(pickle.loads(connection.recv_bytes())())
            screen.self_test()
        except Exception as error:
            connection.send_bytes(bytes([Say.FAILED]) + packed_error(error))
            return
        connection.send_bytes(bytes([Say.READY]) + str(getattr(screen, "name", "")).encode())
        while True:
            connection.send_bytes(_answer(screen, block, connection.recv_bytes()))


def _answer(screen: KnowsAnswer, block: Block, request: bytes) -> bytes:
    wanted, height, width = REQUEST.unpack(request)
    try:
        if wanted == Ask.TEST:
            screen.self_test()
            return bytes([Say.PASSED])
        stopped = stopped_by(screen)
        found = screen(block.planes(height, width))
        if not isinstance(found, Detections):
            raise EngineRunError(f"the detector answered {type(found).__name__}")
        early = stopped_by(screen) > stopped
        return bytes([Say.DONE]) + ANSWER.pack(block.put(found), early)
    except Exception as error:
        return bytes([Say.FAILED]) + packed_error(error)


def _end_with(alive: int) -> None:
    """Have the kernel end this process when the other end of a pipe is closed."""
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(alive, fcntl.F_GETFL)
    fcntl.fcntl(alive, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([alive], [], [], 0)[0]:  # it was closed before anyone was told to look
        sys.exit(1)
