"""Every defect that users of these sets trip over, made on disk and found."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from xedge.data import open_set
from xedge.data.defects import Kind
from xedge.data.verify import _cut_short, verify
from xedge.errors import ConfigError, DataError


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cut(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def sums(path: Path, *files: str, kind: str = "sha256") -> None:
    lines = [
        f"{hashlib.new(kind, (path.parent / file).read_bytes()).hexdigest()}  {file}\n"
        for file in files
    ]
    path.write_text("".join(lines))


@pytest.mark.parametrize("format", ["sixray", "opixray", "coco"])
def test_a_sound_set_has_no_findings(make_set, format) -> None:
    root = make_set(format)
    sums(root / "SHA256SUMS", *(str(p.relative_to(root)) for p in root.rglob("*.jpg")))
    seen: list[tuple[int, int]] = []
    report = verify(format, root, progress=lambda done, of: seen.append((done, of)))
    assert report.findings == ()
    assert report.sound
    assert report.images == {"sixray": 5, "opixray": 5, "coco": 3}[format]
    assert seen == [(k, report.files) for k in range(1, report.files + 1)]


def test_known_defects_are_told_and_cost_nothing(make_set) -> None:
    (clc,) = verify("clcxray", make_set("clcxray")).findings
    assert clc.kind is Kind.KNOWN_DEFECT
    assert "image 7547" in clc.what
    assert not clc.lost
    (gdx,) = verify("gdxray", make_set("gdxray")).findings
    assert (gdx.kind, gdx.file) == (Kind.KNOWN_DEFECT, "Baggages/B0031/BoundingBox.txt")


SIXRAY = {
    "truncated": (lambda r: cut(r / "JPEGImage/P00001.jpg"),
                  Kind.NO_DECODE, "JPEGImage/P00001.jpg", ""),
    "empty": (lambda r: (r / "JPEGImage/N0000001.jpg").write_bytes(b""),
              Kind.NO_DECODE, "JPEGImage/N0000001.jpg", "0 bytes"),
    "missing": (lambda r: (r / "JPEGImage/N0000001.jpg").unlink(),
                Kind.MISSING_FILE, "JPEGImage/N0000001.jpg", "train.csv lists it"),
    "image gone": (lambda r: (r / "JPEGImage/P00001.jpg").unlink(),
                   Kind.NO_IMAGE, "Annotation/P00001.xml", ""),
    "XML gone": (lambda r: (r / "Annotation/P00001.xml").unlink(),
                 Kind.NO_ANNOTATION, "JPEGImage/P00001.jpg", "positive"),
    "twin": (lambda r: shutil.copy(r / "JPEGImage/P00001.jpg", r / "JPEGImage/P00002.jpg"),
             Kind.DUPLICATE_IMAGE, "JPEGImage/P00002.jpg", "bytes as JPEGImage/P00001.jpg"),
    "inverted": (lambda r: edit(r / "Annotation/P00001.xml", "25.5", "5.5"),
                 Kind.BAD_BOX, "Annotation/P00001.xml", "found 7.318 4.25 5.5 30.75"),
    "infinite": (lambda r: edit(r / "Annotation/P00001.xml", "25.5", "inf"),
                 Kind.BAD_BOX, "Annotation/P00001.xml", "inf"),
    "no number": (lambda r: edit(r / "Annotation/P00001.xml", "25.5", "wide"),
                  Kind.NO_PARSE, "Annotation/P00001.xml", "wide"),
    "beyond": (lambda r: edit(r / "Annotation/P00001.xml", "25.5", "62"),
               Kind.OUT_OF_BOUNDS, "JPEGImage/P00001.jpg", "picture of 60 x 40"),
    "before": (lambda r: edit(r / "Annotation/P00001.xml", "4.25", "-4.25"),
               Kind.OUT_OF_BOUNDS, "JPEGImage/P00001.jpg", "box 7.318 -4.25"),
    "resized": (lambda r: edit(r / "Annotation/P00001.xml", "<height>40", "<height>80"),
                Kind.WRONG_SIZE, "JPEGImage/P00001.jpg", "60 x 40 pixels.*for 60 x 80"),
    "broken XML": (lambda r: cut(r / "Annotation/P00001.xml"),
                   Kind.NO_PARSE, "Annotation/P00001.xml", "broken XML"),
    "binary XML": (lambda r: (r / "Annotation/P00001.xml").write_bytes(b"\xff\xfe\x00"),
                   Kind.NO_PARSE, "Annotation/P00001.xml", "UTF-8"),
    "unknown class": (lambda r: edit(r / "Annotation/P00001.xml", "Knife", "Sword"),
                      Kind.UNKNOWN_CLASS, "Annotation/P00001.xml", "found class 'Sword'"),
    "no class": (lambda r: edit(r / "Annotation/P00001.xml", "Knife", " "),
                 Kind.EMPTY_NAME, "Annotation/P00001.xml", ""),
    "list and XML": (lambda r: edit(r / "ImageSet/10/train.csv", "P00001,-1,1", "P00001,1,-1"),
                     Kind.LISTS_DISAGREE, "Annotation/P00001.xml", "says Gun 1, the XML has no"),
    "empty name": (lambda r: edit(r / "ImageSet/10/train.csv", "N0000001", ""),
                   Kind.EMPTY_NAME, "ImageSet/10/train.csv", "row 4"),
    "twice": (lambda r: edit(r / "ImageSet/10/train.csv", "N0000001", "P00001"),
              Kind.DUPLICATE_NAME, "ImageSet/10/train.csv", "row 4 lists P00001 again"),
    "bad value": (lambda r: edit(r / "ImageSet/10/train.csv", "N0000001,-1", "N0000001,2"),
                  Kind.NO_PARSE, "ImageSet/10/train.csv", "row 4: expected 5 values"),
    "bad header": (lambda r: edit(r / "ImageSet/10/train.csv", "name,Gun", "id,Bomb"),
                   Kind.NO_PARSE, "ImageSet/10/train.csv", "expected a header name,Gun"),
    "no image folder": (lambda r: shutil.rmtree(r / "JPEGImage"),
                        Kind.LAYOUT, "10/test", "expected a folder JPEGImage"),
    "broken sum": (lambda r: (sums(r / "MD5SUMS", "JPEGImage/P00001.jpg", kind="md5"),
                              edit(r / "Annotation/P00001.xml", "25.5", "25.25"),
                              sums(r / "Annotation/SHA256SUMS", "P00001.xml"),
                              edit(r / "Annotation/P00001.xml", "25.25", "25.5")),
                   Kind.CHECKSUM, "Annotation/SHA256SUMS", "P00001.xml does not have its sha256"),
    "sum of nothing": (lambda r: (r / "md5sums.txt").write_text(f"{'0' * 32} *absent.jpg\n"),
                       Kind.CHECKSUM, "md5sums.txt", "absent.jpg: No such file"),
    "sum outside": (lambda r: (r / "a.md5").write_text(f"{'0' * 32}  ../x\n"),
                    Kind.CHECKSUM, "a.md5", "outside the set"),
    "no sums": (lambda r: (r / "SHA256SUMS").write_text("hello\n"),
                Kind.NO_PARSE, "SHA256SUMS", "expected a sum"),
}  # fmt: skip

OPIXRAY = {
    "image gone": (lambda r: (r / "train/train_image/000001.jpg").unlink(),
                   Kind.MISSING_FILE, "train/train_image/000001.jpg", ""),
    "text gone": (lambda r: (r / "train/train_annotation/000001.txt").unlink(),
                  Kind.NO_ANNOTATION, "train/train_image/000001.jpg", ""),
    "no image": (lambda r: (r / "train/train_annotation/7.txt").write_text(""),
                 Kind.NO_IMAGE, "train/train_annotation/7.txt", ""),
    "unlisted": (lambda r: edit(r / "train/train_knife.txt", "000002\n", ""),
                 Kind.LISTS_DISAGREE, "train/train_image/000002.jpg", "does not have its id"),
    "blank line": (lambda r: edit(r / "train/train_knife.txt", "000002", "\n000002"),
                   Kind.EMPTY_NAME, "train/train_knife.txt", "line 2"),
    "twice": (lambda r: edit(r / "train/train_knife.txt", "000002", "000002\n000002"),
              Kind.DUPLICATE_NAME, "train/train_knife.txt", "000002 again"),
    "two levels": (lambda r: edit(r / "test/test_knife-2.txt", "009001", "009001\n009000"),
                   Kind.LISTS_DISAGREE, "test/test_knife-2.txt", "of level 1 too"),
    "no level": (lambda r: edit(r / "test/test_knife-2.txt", "009001\n", ""),
                 Kind.LISTS_DISAGREE, "test/test_knife.txt", "no level list has 009001"),
    "other image": (lambda r: edit(r / "train/train_annotation/000001.txt", "000001", "000002"),
                    Kind.LISTS_DISAGREE, "train/train_annotation/000001.txt", "000002.jpg"),
    "short line": (lambda r: edit(r / "train/train_annotation/000001.txt", " 20", ""),
                   Kind.NO_PARSE, "train/train_annotation/000001.txt", "line 1: expected image"),
    "two suffixes": (lambda r: shutil.copy(r / "train/train_image/000001.jpg",
                                           r / "train/train_image/000001.tiff"),
                     Kind.DUPLICATE_NAME, "train/train_image/000001.tiff", "same id"),
    "folder gone": (lambda r: shutil.rmtree(r / "train/train_annotation"),
                    Kind.LAYOUT, "train", "train_annotation"),
}  # fmt: skip

COCO = {
    "broken": (lambda r: cut(r / "set.json"), Kind.NO_PARSE, "set.json", "broken JSON"),
    "no list": (lambda r: edit(r / "set.json", '"categories"', '"kinds"'),
                Kind.NO_PARSE, "set.json", "found images, annotations, kinds"),
    "empty name": (lambda r: edit(r / "set.json", '"a2.jpg"', '".jpg"'),
                   Kind.EMPTY_NAME, "set.json", "image 1"),
    "escapes": (lambda r: edit(r / "set.json", '"a2.jpg"', '"../a2.jpg"'),
                Kind.NO_PARSE, "set.json", "../a2.jpg"),
    "absent": (lambda r: edit(r / "set.json", '"a2.jpg"', '"c.jpg"'),
               Kind.MISSING_FILE, "images/c.jpg", "set.json lists it"),
    "twice": (lambda r: edit(r / "set.json", '"a2.jpg"', '"a1.jpg"'),
              Kind.DUPLICATE_NAME, "set.json", "image 1, a1.jpg"),
    "no such image": (lambda r: edit(r / "set.json", '"image_id": 1', '"image_id": 9'),
                      Kind.NO_IMAGE, "set.json", "image 9"),
    "no such class": (lambda r: edit(r / "set.json", '"category_id": 7', '"category_id": 8'),
                      Kind.UNKNOWN_CLASS, "set.json", "category 8"),
    "flat box": (lambda r: edit(r / "set.json", "20.5", "0"), Kind.BAD_BOX, "set.json", ""),
    "no box": (lambda r: edit(r / "set.json", '"bbox": [5, 6, 20.5, 10]', '"bbox": [5]'),
               Kind.NO_PARSE, "set.json", "annotation"),
    "nameless class": (lambda r: edit(r / "set.json", '"blade"', '""'),
                       Kind.EMPTY_NAME, "set.json", "category"),
    "no ids": (lambda r: edit(r / "set.json", '"id": 1, "file_name"', '"file_name"'),
               Kind.NO_PARSE, "set.json", "without an id"),
    "truncated": (lambda r: cut(r / "images/b.jpg"), Kind.NO_DECODE, "images/b.jpg", ""),
}  # fmt: skip

GDXRAY = {
    "short row": (lambda r: edit(r / "Baggages/B0046/ground_truth.txt", "3  1 59", "3  1"),
                  Kind.NO_PARSE, "Baggages/B0046/ground_truth.txt", "line 3"),
    "no image": (lambda r: edit(r / "Baggages/B0046/ground_truth.txt", "3  1 59", "7 1 59"),
                 Kind.NO_IMAGE, "Baggages/B0046/ground_truth.txt", "B0046_0007.png"),
    "flat": (lambda r: edit(r / "Baggages/B0046/ground_truth.txt", "3  1 59", "3 1 1"),
             Kind.BAD_BOX, "Baggages/B0046/ground_truth.txt", ""),
    "MATLAB only": (lambda r: (r / "Baggages/B0046/ground_truth.txt").rename(
                        r / "Baggages/B0046/BoundingBox.mat"),
                    Kind.LAYOUT, ".", "MATLAB"),
}  # fmt: skip

CASES = [
    pytest.param(format, *case, id=f"{format}-{name}")
    for format, cases in (
        ("sixray", SIXRAY), ("opixray", OPIXRAY), ("coco", COCO), ("gdxray", GDXRAY)
    )
    for name, case in cases.items()
]  # fmt: skip


@pytest.mark.parametrize(("format", "damage", "kind", "file", "what"), CASES)
def test_a_defect_is_found_in_its_file(make_set, format, damage, kind, file, what) -> None:
    root = make_set(format)
    damage(root)
    report = verify(format, root)
    assert not report.sound
    found = [finding for finding in report.findings if (finding.kind, finding.file) == (kind, file)]
    assert found, report.findings
    assert any(re.search(what, finding.what) for finding in found), found
    json.loads(report.to_json())


def test_one_bad_file_does_not_cost_the_others(make_set) -> None:
    root = make_set("sixray")
    for damage in ("truncated", "broken XML", "bad value", "list and XML", "twin"):
        if damage != "truncated":
            SIXRAY[damage][0](root)
    (root / "JPEGImage" / "N0000002.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    report = verify("sixray", root)
    assert {finding.kind for finding in report.findings} >= {
        Kind.NO_PARSE, Kind.NO_DECODE, Kind.DUPLICATE_IMAGE,
    }  # fmt: skip
    assert report.counts == {
        kind.value: sum(f.kind is kind for f in report.findings)
        for kind in dict.fromkeys(f.kind for f in report.findings)
    }


def test_a_jpeg_without_its_end_is_cut_short() -> None:
    """Whatever the decoder makes of it; the end of a preview inside is not the picture's."""
    preview = b"\xff\xd8\xff\xda preview \xff\xd9"
    whole = b"\xff\xd8\xff\xe1" + preview + b"\xff\xda pixels \xff\xd9"
    assert not _cut_short(whole)
    assert not _cut_short(whole + b"padding")
    assert _cut_short(whole[:-2])
    assert not _cut_short(b"\x89PNG \xff\xda")


def test_one_part_is_verified_alone(make_set) -> None:
    root = make_set("opixray")
    (root / "train" / "train_image" / "000001.jpg").write_bytes(b"")
    assert verify("opixray", root, "test").sound
    assert not verify("opixray", root, "train").sound
    with pytest.raises(DataError, match="has no part 'val'"):
        verify("opixray", root, "val")
    with pytest.raises(ConfigError, match="no such format"):
        verify("voc", root)
    with pytest.raises(DataError, match="no data set of format coco"):
        verify("coco", root)


def test_opening_agrees_with_verifying(make_set) -> None:
    """What costs an image or a box stops opening; what does not, does not."""
    for name, (damage, *_) in OPIXRAY.items():
        root = make_set("opixray")
        damage(root)
        lost = any(f.lost and f.kind is not Kind.NO_DECODE
                   for f in verify("opixray", root).findings)  # fmt: skip
        refused = False
        for part in ("train", "test"):
            try:
                open_set("opixray", root, part)
            except DataError:
                refused = True
        assert refused == lost, name
        shutil.rmtree(root)


def test_the_real_images_are_sound_but_for_doubles(real_data) -> None:
    report = verify("sixray", real_data / "sixray-real")
    assert (report.images, report.objects) == (1114, 794)
    assert {finding.kind for finding in report.findings} == {Kind.DUPLICATE_IMAGE}
