"""Small sets of every format on disk, with real JPEG and PNG files."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


def write_picture(path: Path, seed: int, height: int = 40, width: int = 60) -> None:
    """A colour picture of its own; grey for a seed below zero."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(abs(seed)).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    picture = cv2.resize(coarse if seed >= 0 else coarse[..., 0], (width, height))
    assert cv2.imwrite(str(path), picture)


def voc(name: str, *objects: tuple, size: tuple[int, int] = (40, 60)) -> str:
    """A VOC annotation; an object is class, difficult, xmin, ymin, xmax, ymax."""
    rows = "".join(
        f"<object><name>{c}</name><difficult>{d}</difficult><bndbox><xmin>{x1}</xmin>"
        f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for c, d, x1, y1, x2, y2 in objects
    )
    return (
        f"<annotation><filename>{name}.jpg</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size>{rows}</annotation>"
    )


def sixray(root: Path) -> Path:
    """Three positives, two negatives, in the published layout."""
    for seed, name in enumerate(("P00001", "P00002", "P00010", "N0000001", "N0000002")):
        write_picture(root / "JPEGImage" / f"{name}.jpg", seed)
    (root / "Annotation").mkdir()
    for name, *objects in (
        ("P00001", ("Knife", 0, 7.318, 4.25, 25.5, 30.75)),
        ("P00002", ("Gun", 0, 1, 2, 30, 20), ("Hammer", 0, 30, 5, 50, 35)),
        ("P00010", ("Wrench", 0, 10, 10, 40, 30)),
    ):
        (root / "Annotation" / f"{name}.xml").write_text(voc(name, *objects))
    for ratio in ("10", "100"):
        lists = root / "ImageSet" / ratio
        lists.mkdir(parents=True)
        header = "name,Gun,Knife,Wrench,Pliers,Scissors\n"
        (lists / "train.csv").write_text(
            header + "P00001,-1,1,-1,-1,-1\nP00002,1,-1,-1,-1,-1\nN0000001,-1,-1,-1,-1,-1\n"
        )
        (lists / "test.csv").write_text(header + "P00010,-1,-1,0,-1,-1\nN0000002,-1,-1,-1,-1,-1\n")
    return root


def opixray(root: Path) -> Path:
    """Two training images; three test images, one of each level."""
    lines = {
        "000001": "000001.jpg Straight_Knife 5 6 30 20\n",
        "000002": "000002.jpg Scissor 1 1 20 30\n000002.jpg Multi-tool_Knife 30 5 50 25\n",
        "009000": "009000.jpg Folding_Knife 5 6 30 20\n",
        "009001": "009001.jpg Utility_Knife 5 6 30 20\n",
        "009500": "009500.jpg Scissor 5 6 30 20\n",
    }
    for half in ("train", "test"):
        ids = [name for name in lines if (name < "009") == (half == "train")]
        (root / half / f"{half}_annotation").mkdir(parents=True)
        for name in ids:
            write_picture(root / half / f"{half}_image" / f"{name}.jpg", int(name))
            (root / half / f"{half}_annotation" / f"{name}.txt").write_text(lines[name])
        (root / half / f"{half}_knife.txt").write_text("\n".join(ids) + "\n")
    for level, name in enumerate(("009000", "009001", "009500"), 1):
        (root / "test" / f"test_knife-{level}.txt").write_text(f"{name}\n")
    return root


def coco_content(names: list[str]) -> dict:
    """One box of the second class in every image but the last."""
    return {
        "images": [
            {"id": k, "file_name": name, "height": 40, "width": 60} for k, name in enumerate(names)
        ],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 7, "bbox": [5, 6, 20.5, 10], "iscrowd": 0}
            for k in range(len(names) - 1)
        ],
        "categories": [{"id": 7, "name": "scissors"}, {"id": 3, "name": "blade"}],
    }


def clcxray(root: Path) -> Path:
    """Three training images, the second in 16-bit dual energy; image 7547 has lost its name."""
    folder = root / "train2017"
    write_picture(folder / "20_40_04_138.png", 1)
    write_picture(folder / "20_40_04_140.png", 2)
    low = np.random.default_rng(0).integers(100, 40_000, (40, 60)).astype(np.uint16)
    assert cv2.imwrite(str(folder / "20_40_04_139_low.png"), low)
    assert cv2.imwrite(str(folder / "20_40_04_139_high.png"), (low * 1.4).astype(np.uint16))
    content = coco_content(["20_40_04_138.png", "20_40_04_139.png", ".png"])
    content["images"][2]["id"] = 7547
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


def gdxray(root: Path) -> Path:
    """Two series with ground truth and one without."""
    for series in ("B0002", "B0031", "B0046"):
        for number in (1, 2, 3):
            name = f"{series}/{series}_{number:04d}.png"
            write_picture(root / "Baggages" / name, -(int(series[1:]) * 10 + number))
    (root / "Baggages" / "B0031" / "BoundingBox.txt").write_text("2 10 20 35 5\n")
    (root / "Baggages" / "B0046" / "ground_truth.txt").write_text(
        "   1.0000000e+00   5.0000000e+00   2.5000000e+01   6.0e+00   3.05e+01\n"
        "   1.0000000e+00   30   50   6   30\n   3  1 59 1 39\n"
    )
    return root


def coco(root: Path) -> Path:
    """Three images in a folder `images`, listed by one JSON."""
    for seed, name in enumerate(("a1", "a2", "b"), 50):
        write_picture(root / "images" / f"{name}.jpg", seed)
    (root / "set.json").write_text(json.dumps(coco_content(["a1.jpg", "a2.jpg", "b.jpg"])))
    return root


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a sound set of a format; gives its folder."""
    makers = {f.__name__: f for f in (sixray, opixray, clcxray, gdxray, coco)}

    def make(format: str) -> Path:
        folder = tmp_path / format
        folder.mkdir()
        return makers[format](folder)

    return make
