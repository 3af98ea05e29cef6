"""Picture files: pseudo-colour pictures, and dual-energy counts in TIFF, PNG pairs or npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from xedge.errors import ImageError
from xedge.preprocess import pseudo_colour
from xedge.types import AIR_COUNTS, U8, U16

FORMATS = (
    "an 8-bit colour picture (PNG, JPEG, BMP), or 16-bit dual energy: a TIFF of two pages (low, "
    "high), NAME_low.png with NAME_high.png, or an .npz with arrays low and high"
)


@dataclass(frozen=True, eq=False)
class ColourPicture:
    """A pseudo-colour picture.

    Attributes:
        rgb: uint8 ``[h, w, 3]``, red first.
    """

    rgb: U8

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ImageError(
                "a picture cannot be used",
                expected="uint8 [height, width, 3]",
                found=f"{self.rgb.dtype} {list(self.rgb.shape)}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, eq=False)
class DualEnergyPicture:
    """A picture of corrected counts in two energies.

    Attributes:
        low: Low-energy counts, uint16 ``[lines, elements]``; air is `AIR_COUNTS`.
        high: High-energy counts, the same shape.
    """

    low: U16
    high: U16

    def __post_init__(self) -> None:
        same = self.low.shape == self.high.shape and self.low.ndim == 2 and self.low.size > 0
        if not same or {self.low.dtype, self.high.dtype} != {np.dtype(np.uint16)}:
            raise ImageError(
                "a dual-energy picture cannot be used",
                expected="two uint16 images of one size",
                found=f"low {self.low.dtype} {list(self.low.shape)}, "
                f"high {self.high.dtype} {list(self.high.shape)}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height (lines) and width (detector elements)."""
        return self.low.shape[0], self.low.shape[1]

    @property
    def rgb(self) -> U8:
        """The picture in pseudo-colour, uint8 ``[h, w, 3]``."""
        return pseudo_colour(self.low, self.high)


def read_picture(
    path: Path, air_counts: int = AIR_COUNTS, *, grey: bool = False
) -> ColourPicture | DualEnergyPicture:
    """The picture in a file.

    Args:
        path: One of `FORMATS`; of a pair of PNG files either one.
        air_counts: What unattenuated air reads in a 16-bit file; counts are scaled so that it
            becomes `AIR_COUNTS`.
        grey: Take an 8-bit grey picture too, as a colour picture of three equal channels.

    Raises:
        ImageError: When there is no such file, or it is none of these.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ImageError(f"{path} {what}", expected=FORMATS, remedy="Check the path")
    if path.suffix.lower() == ".npz":
        return _dual(*_npz(path), air_counts)
    pages = _decode(path)
    if len(pages) == 2 and path.suffix.lower() in {".tif", ".tiff"}:
        return _dual(pages[0], pages[1], air_counts)
    if (partner := _partner(path)) is not None:
        other = _decode(partner)
        pair = (pages[0], other[0]) if is_low(path) else (other[0], pages[0])
        return _dual(*pair, air_counts)
    image = pages[0]
    if len(pages) == 1 and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return ColourPicture(np.ascontiguousarray(image[..., ::-1]).astype(np.uint8))
    if grey and len(pages) == 1 and image.dtype == np.uint8 and image.ndim == 2:
        return ColourPicture(np.repeat(image[..., None], 3, axis=2).astype(np.uint8))
    raise ImageError(
        f"{path} is no picture that can be screened",
        expected=FORMATS,
        found=f"{len(pages)} page(s), {image.dtype} {list(image.shape)}",
        remedy="Convert it to one of these",
    )


def is_low(path: Path) -> bool:
    """Whether a file is named as the low-energy half of a pair."""
    return path.stem.endswith("_low")


def pair_key(path: Path) -> Path:
    """The same path for both halves of a pair of files, the path itself for any other."""
    for half in ("_low", "_high"):
        if path.stem.endswith(half) and _partner(path) is not None:
            return path.with_name(path.stem.removesuffix(half) + path.suffix)
    return path


def both_halves(path: Path) -> tuple[Path, ...]:
    """The two files of a pair by the name of one of them, there or not; else the file alone."""
    for half in ("_low", "_high"):
        if path.stem.endswith(half):
            name = path.stem.removesuffix(half)
            return tuple(path.with_name(name + end + path.suffix) for end in ("_low", "_high"))
    return (path,)


def _partner(path: Path) -> Path | None:
    """The other half of a pair: there only when both files are."""
    for half, other in (("_low", "_high"), ("_high", "_low")):
        if path.stem.endswith(half):
            partner = path.with_name(path.stem.removesuffix(half) + other + path.suffix)
            return partner if partner.is_file() else None
    return None


def _decode(path: Path) -> list[npt.NDArray[np.generic]]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    try:
        # Bytes, not a file name: OpenCV neither reports why it cannot open one nor takes every
        # name. UNCHANGED also leaves a JPEG unrotated, so that boxes are in the file's pixels.
        good, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED) if data.size else (False, ())
    except cv2.error:
        good, pages = False, ()
    if not good or not pages:
        raise ImageError(
            f"{path} cannot be read as a picture",
            expected=FORMATS,
            found=f"{data.size} bytes that are none of these, or cut short",
            remedy="Open it in a viewer to see whether it is sound",
        )
    return [np.asarray(page) for page in pages]


def _npz(path: Path) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["low"], arrays["high"]
    except Exception as error:  # a hostile or broken zip fails in zipfile, zlib, numpy, struct ...
        raise ImageError(
            f"{path} cannot be read as dual energy",
            expected="an .npz with uint16 arrays low and high",
            found=str(error) or type(error).__name__,
        ) from error


def _dual(
    low: npt.NDArray[np.generic], high: npt.NDArray[np.generic], air_counts: int
) -> DualEnergyPicture:
    if not 256 <= air_counts <= 65535:
        raise ImageError("counts of air cannot be used", expected="256..65535",
                         found=str(air_counts))  # fmt: skip
    if low.dtype != np.uint16 or high.dtype != np.uint16 or air_counts == AIR_COUNTS:
        return DualEnergyPicture(low, high)  # type: ignore[arg-type]  # it checks the dtypes
    table = np.rint(np.arange(65536) * (AIR_COUNTS / air_counts)).clip(0, 65535).astype(np.uint16)
    return DualEnergyPicture(table[low], table[high])
