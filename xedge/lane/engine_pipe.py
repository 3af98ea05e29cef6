"""What a lane and its engine's process share: a socket, memory, and the lane's hold on it.

    lane -> engine      the pickled function that opens the screen, once
                        RUN height width  |  TEST
    engine -> lane      READY name  |  DONE number early  |  PASSED  |  FAILED error
    shared memory       planes uint8 [3, h, w]; behind them the answer: boxes, scores, labels

`xedge.lane.engine_child` is what runs in the process.
"""

from __future__ import annotations

import contextlib
import enum
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from xedge import errors
from xedge.errors import EngineRunError, XedgeError
from xedge.lane.selftest import KnowsAnswer
from xedge.types import F32, I32, U8, Detections

OpenScreen = Callable[[], AbstractContextManager[KnowsAnswer]]
"""Opens a screen, in the child; a function that can be pickled, such as a `functools.partial`."""

KILL_S: Final = 2.0
"""Seconds in which a killed process is expected to be gone; a driver may hold it longer."""

CODE: Final = "import sys; from xedge.lane.engine_child import main; main(*map(int, sys.argv[1:]))"

REQUEST: Final = struct.Struct("<BII")
ANSWER: Final = struct.Struct("<I?")
"""Number of detections, and whether the window was left early."""
ROW_BYTES: Final = 6 * 4
"""Of one detection: four coordinates, a score, a label."""


class Ask(enum.IntEnum):
    """What a parent wants."""

    RUN = 1
    TEST = 2


class Say(enum.IntEnum):
    """What a child answers."""

    READY = 1
    DONE = 2
    PASSED = 3
    FAILED = 4


@dataclass(frozen=True)
class Layout:
    """What the shared memory has room for.

    Attributes:
        height: Rows of a window at the most.
        width: Columns of a window at the most.
        most: Detections in one answer at the most.
    """

    height: int
    width: int
    most: int

    @property
    def answer_at(self) -> int:
        """Where the answer begins, bytes: behind the planes, on a whole float."""
        return -(-3 * self.height * self.width // 4) * 4

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return self.answer_at + ROW_BYTES * self.most


class Block:
    """Shared memory of one parent and one child.

    Args:
        descriptor: An open file of `Layout.size` bytes.
        layout: What it has room for.
    """

    def __init__(self, descriptor: int, layout: Layout) -> None:
        self._memory, self._layout = mmap.mmap(descriptor, layout.size), layout

    def planes(self, height: int, width: int) -> U8:
        """The window, uint8 ``[3, height, width]``; a view, not a copy."""
        flat = np.frombuffer(self._memory, np.uint8, 3 * height * width)
        return flat.reshape(3, height, width)

    def put(self, found: Detections) -> int:
        """The number of detections, which are written.

        Raises:
            EngineRunError: When there are more than there is room for.
        """
        n = len(found)
        if n > self._layout.most:
            raise EngineRunError("the engine found more than an answer has room for",
                                 expected=f"at most {self._layout.most}", found=str(n))  # fmt: skip
        reals, labels = self._rows(n)
        reals[:, :4], reals[:, 4], labels[:] = found.boxes, found.scores, found.labels
        return n

    def get(self, n: int) -> Detections:
        """A copy of the ``n`` detections that were written."""
        reals, labels = self._rows(n)
        return Detections(reals[:, :4].copy(), reals[:, 4].copy(), labels.copy())

    def _rows(self, n: int) -> tuple[F32, I32]:
        at, layout = self._layout.answer_at, self._layout
        reals = np.frombuffer(self._memory, np.float32, 5 * layout.most, at).reshape(-1, 5)
        labels = np.frombuffer(self._memory, np.int32, layout.most, at + 20 * layout.most)
        return reals[:n], labels[:n]


def packed_error(error: BaseException) -> bytes:
    """An error as its parent reads it."""
    known = isinstance(error, XedgeError)
    said = {"kind": type(error).__name__ if known else "", "what": str(error)}
    if isinstance(error, XedgeError):
        said |= {"what": error.what, "expected": error.expected, "found": error.found,
                 "remedy": error.remedy}  # fmt: skip
    else:
        said["what"] = f"{type(error).__name__}: {error}"
    return json.dumps(said).encode()


def unpacked_error(packed: bytes) -> XedgeError:
    """The error that was packed; one that is not of xedge's tree is an `EngineRunError`."""
    said = json.loads(packed)
    kind = getattr(errors, said.pop("kind"), EngineRunError)
    if not issubclass(kind, XedgeError):
        kind = EngineRunError
    return kind(said.pop("what"), **said)


class Child:
    """One process, and what is shared with it; nothing of it is used by another one."""

    def __init__(self, layout: Layout, opener: bytes) -> None:
        ours, theirs = socket.socketpair()
        reading, self._alive = os.pipe()
        memory = os.memfd_create("xedge-engine")
        try:
            os.ftruncate(memory, layout.size)
            self.block = Block(memory, layout)
            shared = (theirs.fileno(), reading, memory)
            numbers = (*shared, layout.height, layout.width, layout.most)
            self._process = subprocess.Popen(
                [sys.executable, "-c", CODE, *map(str, numbers)],
                pass_fds=shared,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(p or os.curdir for p in sys.path)},
            )
        except BaseException:
            ours.close()
            os.close(self._alive)
            raise
        finally:
            theirs.close()
            os.close(reading)
            os.close(memory)
        self._connection = Connection(ours.detach())
        self.send(opener)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """True when it has ended."""
        return self._process.poll() is not None

    def send(self, message: bytes) -> None:
        """Say something; that nobody hears it, `hear` finds out."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send_bytes(message)

    def says_something(self, within_s: float) -> bool:
        """True when `hear` has something to hear, be it that the process is gone."""
        return self._connection.poll(within_s)

    def hear(self) -> tuple[int, bytes]:
        """What was said, and the rest of it.

        Raises:
            EngineRunError: When the process is gone.
        """
        try:
            message = self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise EngineRunError(self.epitaph()) from error
        return message[0], message[1:]

    def epitaph(self) -> str:
        """How the process ended, in words."""
        try:
            code = self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            return "the engine's process does not answer any more"
        try:
            return f"the engine's process was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"the engine's process ended with status {code}"

    def end(self) -> None:
        """Kill the process; from any thread, safe to call twice."""
        self._process.kill()
        # One that a driver holds stays for a while: what is shared with it, nobody else uses.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)

    def forget(self) -> None:
        """Let go of what was shared."""
        self._connection.close()
        os.close(self._alive)
