"""Reading PASCAL VOC: one XML file per image, splits in text files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.encoding import read_bytes, read_text, readable
from twlcli.errors import AnnotationError, did_you_mean
from twlcli.labels import some_of

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

# `trainval` comes last: it adds only what the lists before it do not name.
SPLIT_LISTS = ("train", "val", "test", "trainval")


_LARGEST = 16 << 20  # bytes of an XML file; VOC's have some thousand


def is_voc(path: Path) -> bool:
    """Whether a folder is one year of a VOC devkit, or a devkit with at least one year in it."""
    return bool(_years(path))


def read(path: Path) -> Annotations:
    """Read one year of PASCAL VOC.

    A label is present where an object of the class is not marked `difficult`, and unknown where
    all of its objects are. The vocabulary is the 20 classes in alphabetical order; where others
    occur, what occurs, with a note. Splits are
    `ImageSets/Main/train.txt`, `val.txt` and `test.txt`; an image that only `trainval.txt` lists
    is in `train`, and one in no list is left out (VOC2012 holds thousands that are annotated for
    other tasks). A list none of whose images has an XML file is left out too (the test set of
    2012 has no public labels). Without any list every XML file is read, in no split.

    Args:
        path: a folder such as `VOC2007`, or a `VOCdevkit` that holds a single year.

    Raises:
        AnnotationError: there is no such layout or more than one year, an XML file is missing or
            broken, or two splits share an image.
    """
    year = _only_year(path)
    builder = AnnotationBuilder(path, format_name="voc", root=year / "JPEGImages")
    with readable(year):
        xml_names = {file.name for file in (year / "Annotations").iterdir()}
        file_of = {p.stem: p.name for p in builder.root.iterdir()} if builder.root.is_dir() else {}
    lists = [year / "ImageSets" / "Main" / f"{split}.txt" for split in SPLIT_LISTS]
    there = [file for file in lists if file.is_file()]
    if there:
        _add_lists(builder, year, there, xml_names, file_of)
    else:
        builder.note(f"{year} has no ImageSets/Main lists, so its images are in no split")
        for name in sorted(xml_names):
            if name.endswith(".xml"):
                builder.begin_file(year / "Annotations" / name)
                _add_image(builder, year, name.removesuffix(".xml"), file_of)
    found = [builder.label(column) for column in range(builder.label_count)]
    own = [f"{name}{did_you_mean(name, VOC_CLASSES)}" for name in found if name not in VOC_CLASSES]
    if own:
        builder.note(
            f"classes beside VOC's 20, so only those that occur are labels: {some_of(own)}"
        )
    else:
        builder.declare(VOC_CLASSES, line=None)
    return builder.finish()


def _years(path: Path) -> list[Path]:
    """The folders with a year's layout: the path itself, or those inside it or its VOCdevkit."""
    if _is_year(path):
        return [path]
    for devkit in (path, path / "VOCdevkit"):
        if devkit.is_dir():
            with readable(devkit):
                years = [folder for folder in sorted(devkit.iterdir()) if _is_year(folder)]
            if years:
                return years
    return []


def _is_year(path: Path) -> bool:
    return (path / "Annotations").is_dir() and (
        (path / "JPEGImages").is_dir() or (path / "ImageSets" / "Main").is_dir()
    )


def _only_year(path: Path) -> Path:
    years = _years(path)
    if not years:
        raise AnnotationError(
            f"{path}: not a VOC folder; expected Annotations/, JPEGImages/ and ImageSets/Main/ "
            "in it or in a year's folder below it"
        )
    if len(years) > 1:
        names = ", ".join(year.name for year in years)
        raise AnnotationError(
            f"{path}: holds {len(years)} years of VOC ({names}); name one of them, "
            f"such as {years[0]}"
        )
    return years[0]


def _add_lists(
    builder: AnnotationBuilder,
    year: Path,
    lists: Sequence[Path],
    xml_names: set[str],
    file_of: dict[str, str],
) -> None:
    listed: set[str] = set()
    for file in lists:
        lines = read_text(file).splitlines()
        ids = {number: line.split()[0] for number, line in enumerate(lines, 1) if line.strip()}
        if ids and not any(f"{image_id}.xml" in xml_names for image_id in ids.values()):
            builder.note(f"{file} is left out: none of its images has an XML file")
            continue
        builder.begin_file(file)
        is_joint = file.stem == "trainval"
        for number, image_id in ids.items():
            if is_joint and image_id in listed:
                continue
            if f"{image_id}.xml" not in xml_names:
                message = f"image '{image_id}' has no {year / 'Annotations' / image_id}.xml"
                raise AnnotationError.at(file, number, message)
            split = "train" if is_joint else file.stem
            _add_image(builder, year, image_id, file_of, split=split, line=number)
        listed.update(ids.values())
    left_out = len(xml_names) - len(builder)
    if left_out > 0:
        count = f"{left_out:,} of {len(xml_names):,} images"
        builder.note(f"{year}: {count} left out, being in no split list")


def _add_image(
    builder: AnnotationBuilder,
    year: Path,
    image_id: str,
    file_of: dict[str, str],
    *,
    split: str = "",
    line: int | None = None,
) -> None:
    present, difficult = objects_in(year / "Annotations" / f"{image_id}.xml")
    builder.add(
        file_of.get(image_id, f"{image_id}.jpg"),
        builder.columns(sorted(present)),
        builder.columns(sorted(difficult - present)),
        split=split,
        line=line,
    )


def objects_in(path: Path) -> tuple[set[str], set[str]]:
    """The classes of an image's ordinary objects and those of its difficult ones."""
    content = read_bytes(path, most=_LARGEST)
    # A document type can define entities that grow without bound; VOC's files have none.
    if b"<!DOCTYPE" in content.replace(b"\0", b""):
        raise AnnotationError(f"{path}: has a DOCTYPE, which VOC's XML files do not have")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314  without a document type
    except ElementTree.ParseError as error:
        reason = str(error).partition(":")[0]
        column = error.position[1] + 1
        message = f"column {column}: not well-formed XML ({reason})"
        raise AnnotationError.at(path, error.position[0], message) from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise AnnotationError(f"{path}: not well-formed XML ({error})") from None
    if root.tag != "annotation":
        raise AnnotationError(f"{path}: its root is <{root.tag}>; expected <annotation>")
    present: set[str] = set()
    difficult: set[str] = set()
    for item in root.iterfind("object"):
        name = item.findtext("name", "").strip()
        if not name:
            raise AnnotationError(f"{path}: an object has no <name>")
        mark = item.findtext("difficult", "0").strip()
        if mark not in ("0", "1"):
            raise AnnotationError(f"{path}: <difficult> of a {name} is '{mark}'; expected 0 or 1")
        (difficult if mark == "1" else present).add(name)
    return present, difficult
