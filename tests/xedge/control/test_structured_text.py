"""The rule in structured text does what the reference does, run by a small translator to Python.

The translator knows the part of IEC 61131-3 that the file uses. Variables wrap; what is calculated
on the way to one wraps too, or is as wide as a 64-bit controller's registers, where CODESYS and
TwinCAT cut nothing before it is assigned. It is no compiler: a vendor's own must still take the
file.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xedge.control
from xedge.control.commands import Commands, Direction, decode_commands
from xedge.control.image import Header, LaneState, Place, encode
from xedge.control.rule import Item, PlcRule, RuleConfig
from xedge.control.words import crc, to_bytes, to_words, wrap
from xedge.types import Reason, Verdict

SOURCE: Final = Path(xedge.control.__file__).parent / "xedge.st"
BITS: Final = {"WORD": 16, "UINT": 16, "INT": 16, "DWORD": 32, "UDINT": 32, "DINT": 32}
SIGNED: Final = {"INT", "DINT"}
TOKEN: Final = re.compile(
    r"\(\*.*?\*\)|16#[0-9A-F]+|\d+|:=|<>|<=|>=|\.\.|[A-Za-z_]\w*|[-+*<>=()\[\],;:.]", re.DOTALL
)
LEVELS: Final = (
    ("OR",),
    ("XOR",),
    ("AND",),
    ("=", "<>"),
    ("<", ">", "<=", ">="),
    ("+", "-"),
    ("*",),
)
PYTHON: Final = {"OR": "|", "XOR": "^", "AND": "&", "=": "==", "<>": "!="}


def fit(value: int, kind: str) -> int:
    """A number as a variable of this type keeps it."""
    if kind not in BITS:
        return value
    value &= (1 << BITS[kind]) - 1
    return value - (1 << BITS[kind]) if kind in SIGNED and value >> BITS[kind] - 1 else value


class Translator:
    """Functions of structured text as Python's; structures are namespaces, arrays are lists.

    Args:
        text: The file.
        wide: True for a controller that cuts a number when it is assigned, and not before.
    """

    def __init__(self, text: str, *, wide: bool = False) -> None:
        self._wide = wide
        self._tokens = [t for t in TOKEN.findall(text) if not t.startswith("(*")]
        self._at = 0
        self.structures: dict[str, dict[str, tuple[str, str]]] = {}
        self._functions: dict[str, str] = {}
        self._parameters: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self.lines: list[str] = []
        while self._at < len(self._tokens):
            {"TYPE": self._types, "FUNCTION": self._function}[self._take()]()
        scope: dict[str, Any] = {"fit": fit, "new": self.new}
        exec("\n".join(self.lines), scope)
        self.functions = SimpleNamespace(**{name: scope[name] for name in self._functions})

    def new(self, kind: str) -> Any:
        """A variable of a type, as at power-up."""
        if kind in self.structures:
            fields = self.structures[kind].items()
            return SimpleNamespace(
                **{name: int(first) if first else self.new(of) for name, (of, first) in fields}
            )
        return 0

    def _take(self, wanted: str = "") -> str:
        token = self._tokens[self._at]
        assert not wanted or token == wanted, f"{token} instead of {wanted}"
        self._at += 1
        return token

    def _next(self, *tokens: str) -> bool:
        return self._tokens[self._at] in tokens

    def _types(self) -> None:
        while not self._next("END_TYPE"):
            name = self._take()
            self._take(":")
            self._take("STRUCT")
            self.structures[name] = self._variables("END_STRUCT")
            self._take(";")
        self._take()

    def _variables(self, end: str) -> dict[str, tuple[str, str]]:
        found = {}
        while not self._next(end):
            name = self._take()
            self._take(":")
            kind, first = self._take(), ""
            if kind == "ARRAY":
                while kind != "OF":
                    kind = self._take()
                kind = "ARRAY " + self._take()
            if self._next(":="):
                self._take()
                first = self._take()
            self._take(";")
            found[name] = (kind, first)
        self._take(end)
        return found

    def _function(self) -> None:
        name = self._take()
        self._take(":")
        kind = self._take()
        self._functions[name] = kind
        self._names = {name: kind}
        inputs, local = [], []
        while self._next("VAR", "VAR_INPUT", "VAR_IN_OUT"):
            where = self._take()
            variables = {n: k for n, (k, _) in self._variables("END_VAR").items()}
            (local if where == "VAR" else inputs).extend(variables)
            self._names |= variables
        self._parameters[name] = len(inputs)
        self.lines.append(f"def {name}({', '.join(inputs)}):")
        self.lines += [f"    {n} = new({self._names[n]!r})" for n in [name, *local]]
        self._statements(1, "END_FUNCTION")
        self._take()
        self.lines.append(f"    return {name}")

    def _statements(self, depth: int, *ends: str) -> None:
        pad = "    " * depth
        while not self._next(*ends):
            if self._next("IF"):
                self._if(depth)
            elif self._next("FOR"):
                self._take()
                name = self._take()
                self._take(":=")
                first = self._expression()[0]
                self._take("TO")
                last = self._expression()[0]
                self._take("DO")
                self.lines.append(f"{pad}for {name} in range({first}, {last} + 1):")
                self._statements(depth + 1, "END_FOR")
                self._take()
            else:
                target, kind = self._variable(self._take())
                self._take(":=")
                value, _ = self._expression()
                if kind in self.structures:
                    value = f"type({value})(**vars({value}))"  # structures are copied
                elif kind != "BOOL":
                    value = f"fit({value}, {kind!r})"
                self.lines.append(f"{pad}{target} = {value}")
            self._take(";")

    def _if(self, depth: int) -> None:
        word = "if"
        while not self._next("END_IF"):
            if self._take() == "ELSE":
                self.lines.append("    " * depth + "else:")
            else:
                condition, kind = self._expression()
                assert kind == "BOOL", condition
                self._take("THEN")
                self.lines.append("    " * depth + f"{word} {condition}:")
            self._statements(depth + 1, "ELSIF", "ELSE", "END_IF")
            word = "elif"
        self._take()

    def _expression(self, level: int = 0) -> tuple[str, str]:
        if level == len(LEVELS):
            return self._factor()
        left, kind = self._expression(level + 1)
        while self._next(*LEVELS[level]):
            operator = self._take()
            right, other = self._expression(level + 1)
            assert kind == other or "" in (kind, other), f"{left} {operator} {right}"
            kind = kind or other
            left = f"({left} {PYTHON.get(operator, operator)} {right})"
            if level in (3, 4):
                kind = "BOOL"
            elif kind in BITS and not self._wide:
                left = f"fit{left[:-1]}, {kind!r})"
        return left, kind

    def _factor(self) -> tuple[str, str]:
        token = self._take()
        if token == "(":
            inside = self._expression()
            self._take(")")
            return inside
        if token == "-":
            value, kind = self._factor()
            return (f"(-{value})" if self._wide else f"fit(-{value}, {kind!r})"), kind
        if token == "NOT":
            value, kind = self._factor()
            assert kind == "BOOL"
            return f"(not {value})", kind
        if token in ("TRUE", "FALSE"):
            return token.title(), "BOOL"
        if token.startswith("16#"):
            return str(int(token[3:], 16)), ""
        if token.isdigit():
            return token, ""
        return self._call(token) if self._next("(") else self._variable(token)

    def _variable(self, name: str) -> tuple[str, str]:
        kind, code = self._names[name], name
        while self._next(".", "["):
            if self._take() == ".":
                part = self._take()
                code, kind = f"{code}.{part}", self.structures[kind][part][0]
            else:
                code, kind = f"{code}[{self._expression()[0]}]", kind.removeprefix("ARRAY ")
                self._take("]")
        return code, kind

    def _call(self, name: str) -> tuple[str, str]:
        self._take("(")
        arguments = [self._expression()]
        while self._next(","):
            self._take()
            arguments.append(self._expression())
        self._take(")")
        codes, kinds = [a for a, _ in arguments], [k for _, k in arguments]
        if name in ("SHL", "SHR"):
            return (
                f"fit({codes[0]} {'<<' if name == 'SHL' else '>>'} {codes[1]}, {kinds[0]!r})",
                kinds[0],
            )
        if converted := re.fullmatch(r"(\w+)_TO_(\w+)", name):
            assert kinds == [converted[1]], f"{name}({codes[0]}) of a {kinds[0]}"
            return f"fit({codes[0]}, {converted[2]!r})", converted[2]
        assert len(codes) == self._parameters[name], f"{name} takes {self._parameters[name]}"
        return f"{name}({', '.join(codes)})", self._functions[name]


ST: Final = Translator(SOURCE.read_text())
CALL: Final = ST.functions
WIDE: Final = Translator(SOURCE.read_text(), wide=True)


class Both:
    """The reference and the structured text, side by side."""

    def __init__(self, translator: Translator = ST) -> None:
        self._translator, self.call = translator, translator.functions
        self.lost()

    def lost(self) -> None:
        """Both at power-up."""
        self.python = PlcRule(RuleConfig(extent_counts=64, reverse_counts=16))
        self.text = self._translator.new("XedgeRule")
        self.items: list[tuple[Item, Any]] = []

    def scan(self, words: list[int], encoder: int, now_ms: int) -> None:
        words, python, text = list(words), self.python, self.text
        python.see(words, encoder, now_ms)
        assert self.call.XedgeSee(text, words, encoder, now_ms) == python.ready
        assert (text.Alive, text.Sound) == (python.alive, python._header is not None)
        for number, (item, other) in enumerate(self.items):
            item = python.follow(item)
            took = self.call.XedgeFollow(text, words, other)
            self.items[number] = item, other
            assert self.call.XedgeAnswer(text, other) == python.answer(item).verdict
            taken = other.Taken
            assert took == bool(taken.Bag)
            assert item.taken == (Place(taken.Bag, taken.Head, taken.Tail, taken.ValidUntil,
                                        Verdict(taken.Decision), Reason(taken.Reason))
                                  if took else None)  # fmt: skip
        assert (text.Newest, text.Epoch) == (python.acknowledged, python.epoch)

    def enter(self, head: int, tail: int) -> None:
        # A PLC keeps its bags in memory that it uses again.
        other = self._translator.new("XedgeItem")
        other.Taken.Bag, other.Taken.Decision, other.Expired = 77, 1, True
        other.Epoch = self.text.Epoch
        ready = self.python.ready
        assert self.call.XedgeEnter(self.text, other, ready, head, tail) == ready
        self.items.append((self.python.enter(head, tail), other))


TRANSLATED: Final = pytest.mark.parametrize("translator", [ST, WIDE], ids=["wraps", "wide"])


@TRANSLATED
def test_no_story_is_told_otherwise(translator: Translator, rule_scenes: ModuleType) -> None:
    rule_scenes.play_stories(lambda: Both(translator))


@TRANSLATED
@settings(max_examples=25)
@given(data=st.data())
def test_it_answers_as_the_reference_does(
    translator: Translator, rule_scenes: ModuleType, data: st.DataObject
) -> None:
    rule_scenes.play(Both(translator), *data.draw(rule_scenes.SCENES))


def test_a_bag_is_cleared_by_it_at_all() -> None:
    both = Both()
    for beat in (1, 2):
        header = Header(beat, beat, LaneState.RUNNING, 9)
        both.scan(list(to_words(encode(header, []))), 1000, beat)
    both.enter(100, 900)
    image = encode(Header(3, 3, LaneState.RUNNING, 9), [Place(1, 99, 901, 2000, Verdict.CLEAR)])
    both.scan(list(to_words(image)), 1000, 3)
    assert CALL.XedgeAnswer(both.text, both.items[0][1]) == 1


@pytest.mark.parametrize("state", LaneState)
def test_it_knows_the_states(state: LaneState) -> None:
    both = Both()
    for beat in (1, 2, 3):
        both.scan(list(to_words(encode(Header(beat, beat, state, 9), []))), 0, beat)
    assert both.text.Sound


@TRANSLATED
def test_a_dead_heart_stays_dead_and_a_window_ends_where_the_counters_wrap(
    translator: Translator,
) -> None:
    """Both counters are at their ends, where an uncut difference has another sign."""
    both = Both(translator)
    end, now_ms = 2**31 - 1, 2**32 - 1
    for beat in (1, 2):
        words = list(to_words(encode(Header(beat, beat, LaneState.RUNNING, 9), [])))
        both.scan(words, end - 20, now_ms)
    both.enter(end - 820, end - 20)
    place = Place(1, end - 820, end - 20, end - 5, Verdict.CLEAR)
    words = list(to_words(encode(Header(3, 3, LaneState.RUNNING, 9), [place])))
    both.scan(words, end - 20, now_ms)
    answer = both.call.XedgeAnswer
    assert answer(both.text, both.items[0][1]) == Verdict.CLEAR
    both.scan(words, end - 10, 1000)  # the clock has wrapped, 1001 ms ago
    assert not both.text.Alive
    words = list(to_words(encode(Header(4, 4, LaneState.RUNNING, 9), [place])))
    both.scan(words, end - 10, 1001)
    assert answer(both.text, both.items[0][1]) == Verdict.CLEAR
    both.scan(words, wrap(end + 10), 1001)  # past the window, and past the encoder's wrap
    assert both.items[0][1].Expired
    assert answer(both.text, both.items[0][1]) == Verdict.NOT_CLEARED
    both.scan(words, wrap(end + 9), 1001)
    assert not both.text.Turned


@settings(max_examples=30)
@given(st.integers(0, 65535) | st.integers(0, 3), st.integers(0, 65535) | st.integers(8, 14))
def test_it_takes_no_decision_nor_reason_that_does_not_exist(decision: int, reason: int) -> None:
    both = Both()
    for beat in (1, 2):
        both.scan(list(to_words(encode(Header(beat, beat, LaneState.RUNNING, 9), []))), 900, beat)
    both.enter(0, 800)
    place = Place(1, 0, 800, 2000, Verdict.CLEAR)
    words = list(to_words(encode(Header(3, 3, LaneState.RUNNING, 9), [place])))
    words[18:20] = decision, reason
    words[22:24] = crc((*words[5:7], *words[12:22]))
    both.scan(words, 900, 3)
    exists = decision in set(Verdict) and reason in set(Reason)
    assert (both.items[0][1].Taken.Bag == 1) == exists


def test_an_extent_half_the_encoder_away_does_not_fit() -> None:
    """The distance -2^31 has no absolute value in 32 bits."""
    both = Both()
    for beat in (1, 2):
        both.scan(list(to_words(encode(Header(beat, beat, LaneState.RUNNING, 9), []))), 900, beat)
    both.enter(0, 800)
    far = Place(1, -(2**31), wrap(2**31 + 800), 2000, Verdict.CLEAR)
    both.scan(list(to_words(encode(Header(3, 3, LaneState.RUNNING, 9), [far]))), 900, 3)
    assert both.items[0][1].Taken.Bag == 0


U16 = st.integers(0, 65535)
U32 = st.integers(0, 2**32 - 1)


@settings(max_examples=20)
@given(U16, U16, st.booleans(), st.sampled_from(Direction), st.integers(-(2**31), 2**31 - 1), U32,
       U32)  # fmt: skip
def test_its_command_image_is_the_one_that_a_lane_reads(
    sequence: int, beat: int, run: bool, direction: Direction, encoder: int, epoch: int, bag: int
) -> None:
    rule, words = ST.new("XedgeRule"), [0] * 19
    rule.Encoder, rule.Epoch, rule.Newest = encoder, epoch, bag
    CALL.XedgeCommands(rule, words, sequence, beat, run, int(direction))
    assert decode_commands(to_bytes(words)) == Commands(
        sequence, beat, run, direction, encoder, epoch, bag
    )


def test_its_crc_is_ours() -> None:
    words = list(range(0, 65536, 4099))
    register = 0xFFFFFFFF
    for word in words:
        register = CALL.XedgeCrcWord(register, word)
    high, low = crc(words)
    assert register ^ 0xFFFFFFFF == high << 16 | low
