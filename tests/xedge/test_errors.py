"""The tree of errors: drawn as it is, and its messages say what to do."""

import builtins
import inspect
import re

from xedge import errors
from xedge.errors import BundleError, ImageError, LineError, SignatureError, XedgeError


def test_a_message_says_what_was_expected_what_came_and_what_to_do() -> None:
    error = ImageError("a picture is grey", expected="colour", found="grey", remedy="Colour it")
    assert str(error) == "a picture is grey: expected colour, found grey. Colour it"
    assert (error.what, error.expected, error.found) == ("a picture is grey", "colour", "grey")
    assert str(XedgeError("all is lost")) == "all is lost"
    assert str(XedgeError("all is lost", remedy="Restart")) == "all is lost. Restart"
    assert str(XedgeError("all is lost", found="nothing")) == "all is lost: found nothing"


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    """Every class is drawn under its parent, and nothing else is."""
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^    ([ │├└─]*)(\w+)", line):
            depth = len(match[1])
            path = [(d, name) for d, name in path if d < depth]
            drawn[match[2]] = path[-1][1] if path else ""
            path.append((depth, match[2]))
    classes = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, XedgeError)
    }
    parents = {
        name: next((b.__name__ for b in kind.__bases__ if issubclass(b, XedgeError)), "")
        for name, kind in classes.items()
    }
    assert drawn == parents


def test_errors_of_input_are_value_errors_too() -> None:
    assert issubclass(ImageError, builtins.ValueError)
    assert issubclass(SignatureError, BundleError)


def test_an_error_at_a_place_is_the_same_error_there() -> None:
    error = LineError("too wide", expected="8", found="9", remedy="Cut it").at("belt.xstrip:3:")
    assert type(error) is LineError
    assert str(error) == "belt.xstrip:3: too wide: expected 8, found 9. Cut it"
    assert error.what == "belt.xstrip:3: too wide"
