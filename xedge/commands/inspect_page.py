"""The page of `xedge inspect`: the golden window with its answer, and the graph by module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xedge
from xedge.bundle import Bundle
from xedge.errors import ConfigError
from xedge.page import Box, Mark, data_uri, labelled_mark, page_environment
from xedge.preprocess import pseudo_colour


def write_page(bundle: Bundle, record: dict[str, Any], path: Path) -> None:
    """Write the page of a bundle; one file that needs nothing beside it.

    Args:
        bundle: What is shown.
        record: What `xedge.commands.inspect.describe` says of it.
        path: The file.

    Raises:
        ModuleNotFoundError: Without jinja2 (extra ``report``).
        ConfigError: When the file cannot be written.
    """
    lines, elements = bundle.golden_low.shape
    text = (
        page_environment(Path(__file__).parent)
        .get_template("inspect.html")
        .render(
            b=record,
            version=xedge.__version__,
            picture=data_uri(pseudo_colour(bundle.golden_low, bundle.golden_high)),
            marks=golden_marks(bundle, record),
            font=elements / 40,
            width=elements,
            height=lines,
            licence=bundle.licence,
            recipe=bundle.recipe,
            parameters={v["name"]: sum(v["parameters"].values()) for v in record["variants"]},
        )
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written",
            found=error.strerror or str(error),
            remedy="Name another file with --page",
        ) from error


def golden_marks(bundle: Bundle, record: dict[str, Any]) -> tuple[Mark, ...]:
    """Boxes of what the golden answer reports; none of a classifier's."""
    lines, elements = bundle.golden_low.shape
    frame, taken = (0.0, 0.0, float(elements), float(lines)), list[Box]()
    return tuple(
        labelled_mark(
            "found", tuple(row["box"]), f"{row['label']} {row['score']:.2f}",
            f"Reported: {row['label']}, score {row['score']:.3f}", elements / 40, frame, taken,
        )
        for row in record["golden"]["answer"]
        if "box" in row
    )  # fmt: skip
