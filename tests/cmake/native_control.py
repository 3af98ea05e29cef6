"""The rule of xedge/control.h through ctypes, beside the reference."""

from __future__ import annotations

import ctypes as c
from typing import Any

from xedge.control.image import Place
from xedge.control.rule import Item, PlcRule, RuleConfig, Why

WHY = (Why.DECIDED, Why.NO_IMAGE, Why.SILENT, Why.STATE, Why.EPOCH, Why.NO_DECISION, Why.WINDOW,
       Why.REVERSED)  # fmt: skip


class Decision(c.Structure):
    _fields_ = (
        ("bag", c.c_uint32), ("head", c.c_int32), ("tail", c.c_int32), ("valid_until", c.c_int32),
        ("verdict", c.c_uint16), ("reason", c.c_uint16),
    )  # fmt: skip


class NativeItem(c.Structure):
    _fields_ = (
        ("head", c.c_int32), ("tail", c.c_int32), ("epoch", c.c_uint32), ("expired", c.c_int),
        ("taken", Decision),
    )  # fmt: skip


class Rule(c.Structure):
    _fields_ = (
        ("heartbeat_limit_ms", c.c_uint32), ("extent_counts", c.c_uint32),
        ("reverse_counts", c.c_uint32), ("state", c.c_int), ("epoch", c.c_uint32),
        ("decisions", c.c_uint32), ("sequence", c.c_uint16), ("heartbeat", c.c_uint16),
        ("sound", c.c_int), ("alive", c.c_int), ("older", c.c_int), ("moved", c.c_int),
        ("turned", c.c_int), ("older_ms", c.c_uint32), ("changed_ms", c.c_uint32),
        ("newest", c.c_uint32), ("encoder", c.c_int32), ("furthest", c.c_int32),
        ("turned_at", c.c_int32), ("places", Decision * 7), ("crc", c.c_uint32 * 2048),
    )  # fmt: skip


class Both:
    """The reference and the one in C, side by side.

    Args:
        library: What `cmake/tests/headers.c` was built into.
        config: Limits of both.
    """

    def __init__(self, library: c.CDLL, config: RuleConfig | None = None) -> None:
        self.library, self._config, self.rule = library, config, Rule()
        library.xedge_rule_enter.restype = NativeItem
        self.lost()

    def lost(self) -> None:
        """Both at power-up."""
        self.python = PlcRule(self._config)
        self.library.xedge_rule_start(c.byref(self.rule))
        for name in ("heartbeat_limit_ms", "extent_counts", "reverse_counts"):
            limit = getattr(self.python.config, name)
            assert self._config or getattr(self.rule, name) == limit
            setattr(self.rule, name, limit)
        self.items: list[tuple[Item, NativeItem]] = []
        self.ready = 0

    def scan(self, words: list[int] | None, encoder: int, now_ms: int) -> None:
        """One cycle of both, in which they must not differ."""
        self.python.see(words or (), encoder, now_ms)
        image = None if words is None else (c.c_uint16 * 97)(*words)
        rule = c.byref(self.rule)
        self.ready = self.library.xedge_rule_see(rule, image, encoder, c.c_uint32(now_ms))
        assert self.ready == self.python.ready
        assert self.rule.alive == self.python.alive
        for number, (item, other) in enumerate(self.items):
            item = self.python.follow(item)
            self.library.xedge_rule_follow(rule, c.byref(other))
            self.items[number] = item, other
            assert self.answer(other) == (
                self.python.answer(item).verdict, self.python.answer(item).why
            )  # fmt: skip
            assert self.taken(other) == item.taken
        assert self.rule.newest == self.python.acknowledged
        assert self.rule.epoch == self.python.epoch
        assert self.rule.decisions == self.python.decisions

    def enter(self, head: int, tail: int) -> None:
        """A bag for both."""
        other = self.library.xedge_rule_enter(c.byref(self.rule), self.ready, head, tail)
        self.items.append((self.python.enter(head, tail), other))

    def answer(self, other: NativeItem) -> tuple[int, Why]:
        """Verdict and why of the rule in C."""
        why = c.c_int(-1)
        verdict = self.library.xedge_rule_answer(c.byref(self.rule), c.byref(other), c.byref(why))
        return verdict, WHY[why.value]

    @staticmethod
    def taken(other: NativeItem) -> Any:
        """What it took over, as the reference has it."""
        t = other.taken
        return Place(t.bag, t.head, t.tail, t.valid_until, t.verdict, t.reason) if t.bag else None
