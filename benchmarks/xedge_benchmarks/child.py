"""A process of its own for work that may hang, crash, or take all memory: bounded in both."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from xedge.errors import EngineRunError
from xedge.machine import resident_bytes

LOOK_S: Final = 0.25
"""How often a child's memory is looked at while it works."""
END_S: Final = 5.0
"""What a child has to end by itself before it is killed."""
MIB: Final = 2**20
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
LONGEST: Final = 240
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one child may take.

    Attributes:
        seconds: For one answer.
        mib: Of resident memory.
    """

    seconds: float = 600.0
    mib: int = 6144


@dataclass(frozen=True)
class Failure:
    """Why a child could not do what it was asked to.

    Attributes:
        why: One line.
    """

    why: str


class Child:
    """A process that is asked and answers; a context manager is `closing(child)`.

    Args:
        work: Runs in it: takes its end of a pipe and ``args``; a function of a module.
        args: What can be pickled.
        limits: Beyond which it is killed.
    """

    def __init__(self, work: Callable[..., None], args: tuple[Any, ...], limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_quietly, args=(work, theirs, *args))
        self._process.start()
        theirs.close()
        self._limits = limits

    def ask(self, question: object) -> Any:
        """The answer to a question.

        Raises:
            EngineRunError: When the child fails, dies, or takes too long or too much memory.
        """
        try:
            self._pipe.send(question)
        except OSError:
            raise self._died() from None
        return self.hear()

    def hear(self) -> Any:
        """What the child says next; see `ask`."""
        until = time.monotonic() + self._limits.seconds
        heard = False
        while not heard:
            heard = self._pipe.poll(max(0.0, min(LOOK_S, until - time.monotonic())))
            # Also of one that has answered, sooner than anybody looked.
            if self.mib > self._limits.mib:
                raise self._kill(f"it took more than {self._limits.mib} MiB of memory")
            if not heard and time.monotonic() > until:
                raise self._kill(f"it took longer than {self._limits.seconds:g} s")
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(answer, Failure):
            raise EngineRunError(answer.why)
        return answer

    @property
    def mib(self) -> int:
        """Resident memory, MiB; 0 where the system does not say."""
        return (resident_bytes(self._process.pid or 0) or 0) // MIB

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._pipe.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _kill(self, why: str) -> EngineRunError:
        self._process.kill()
        self._process.join()
        return EngineRunError(why)

    def _died(self) -> EngineRunError:
        self._process.join(END_S)
        code = self._process.exitcode
        if code is not None and code < 0:
            return EngineRunError(f"its process was ended by {signal.Signals(-code).name}")
        return EngineRunError(f"its process ended with status {code}")


@dataclass
class Turns:
    """A child that is asked again and again, as `interleave` does; after a failure it has no turn.

    Attributes:
        child: Is asked.
        question: Each time the same.
        settle_s: Before each turn.
        answers: Its answers, one a turn.
        why: Why it failed; empty while it has not.
    """

    child: Child
    question: object = None
    settle_s: float = 0.0
    answers: list[Any] = field(default_factory=list)
    why: str = ""

    def __call__(self) -> None:
        """Ask once, and book the answer."""
        if self.why:
            return
        time.sleep(self.settle_s)
        try:
            self.answers.append(self.child.ask(self.question))
        except EngineRunError as error:
            self.why = error.what


def own_peak_mib(root: Path = Path("/")) -> float | None:
    """The most memory that this process ever held, MiB; None where the system does not say.

    Not by getrusage: there a process inherits the peak of the one that started it.
    """
    try:
        status = (root / "proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def one_line(error: BaseException) -> str:
    """An error as one line of a table, with what began it."""
    first, seen = error, {id(error)}
    while (cause := first.__cause__ or first.__context__) is not None and id(cause) not in seen:
        first = cause
        seen.add(id(cause))
    texts = [_line(error), *([_line(first)] if first is not error else [])]
    return ", from ".join(texts)


def _line(error: BaseException) -> str:
    text = COLOURS.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = type(error).__name__
    return f"{kind}: {lines[0]}"[:LONGEST] if lines else kind


def _quietly(work: Callable[..., None], pipe: Connection, *args: Any) -> None:
    """Work with everything that libraries print thrown away: what is printed is our parent's."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent closes the pipe
    with contextlib.suppress(
        AttributeError, OSError
    ):  # Linux: a killed parent leaves nobody behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        work(pipe, *args)
    except (EOFError, OSError):  # the parent is gone
        return
    except BaseException as error:
        pipe.send(Failure(one_line(error)))
