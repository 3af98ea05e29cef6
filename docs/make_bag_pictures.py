"""Draws docs/img/bags.jpg and docs/img/objects.jpg: ``python docs/make_bag_pictures.py``.

The bags are those of ten consecutive seeds, corrected with the simulated scanner's own dark
and air runs and coloured as `xedge detect` shows them; none was chosen.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from xedge.preprocess import pseudo_colour
from xedge.scanner.flatfield import FlatField
from xedge.sim import CLASSES
from xedge.sim.bags import generate_bag
from xedge.sim.parts import project
from xedge.sim.physics import ScannerModel
from xedge.sim.shapes import Pose
from xedge.sim.threats import make_threat
from xedge.types import AIR_COUNTS, U8

IMAGES = Path(__file__).with_name("img")
FIRST_SEED = 1
RED = (215, 25, 28)


def corrected_picture(seed: int, scanner: ScannerModel, field: FlatField) -> U8:
    """One bag in pseudo-colour with its boxes, RGB."""
    bag = generate_bag(seed, scanner=scanner)
    picture = np.ascontiguousarray(pseudo_colour(*field.apply(bag.low, bag.high)))
    for item in bag.truth:
        x1, y1, x2, y2 = (round(v) for v in item.box)
        cv2.rectangle(picture, (x1, y1), (x2, y2), RED, 3)
        name = f"{item.label.replace('_', ' ')}, OL{item.occlusion}"
        (width, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.9, 2)
        left, base = min(x1, picture.shape[1] - width - 4), y1 - 9
        cv2.putText(picture, name, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.9, RED, 2, cv2.LINE_AA)
    return picture


def sheet(pictures: list[U8], columns: int, height: int, scale: float) -> U8:
    """The pictures side by side, padded with white to one height, shrunk."""
    tiles = []
    for picture in pictures:
        tile = np.full((height, picture.shape[1], 3), 255, np.uint8)
        tile[: picture.shape[0]] = picture[:height]
        tiles.append(cv2.resize(tile, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def object_picture(label: str, seed: int, scanner: ScannerModel) -> U8:
    """One labelled object alone in air, without noise, RGB."""
    rng = np.random.default_rng([CLASSES.index(label), seed])
    pose = Pose(280.0, 280.0, float(rng.uniform(0, 2 * np.pi)), 0.2, 1 / scanner.pitch_mm)
    maps = np.zeros((3, 560, 560), np.float32)
    project(make_threat(label, rng).parts, pose).add_to(maps)
    low, high, _, _ = scanner.transmission(maps)
    return pseudo_colour(
        (low * AIR_COUNTS).astype(np.uint16), (high * AIR_COUNTS).astype(np.uint16)
    )


def main() -> None:
    """Write both pictures."""
    scanner = ScannerModel()
    field = FlatField.from_runs(*scanner.dark_run(200, 1), *scanner.air_run(200, 2))
    seeds = range(FIRST_SEED, FIRST_SEED + 10)
    bags = sheet([corrected_picture(seed, scanner, field) for seed in seeds], 5, 1040, 0.6)
    ones = [object_picture(label, k, scanner) for k in range(3) for label in CLASSES]
    objects = sheet(ones, 11, 560, 0.38)
    for name, picture in (("bags", bags), ("objects", objects)):
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(IMAGES / f"{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
