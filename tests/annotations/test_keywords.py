"""Keywords of photographs as labels: where they stand, what becomes of them, what is left out."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.damage import damaged
from tests.images.encoded import picture
from tests.tagging.outputs.foreign_xmp import SIDECARS
from tests.tagging.outputs.test_xmp import described, needs_exiftool
from tests.test_damaged_files import ends_within
from tests.xmp.photographs import (
    EVERY_KIND,
    UTF8,
    iptc,
    jpeg,
    jpeg_iptc,
    jpeg_xmp,
    tiff,
    with_packet,
)
from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import find_format, read_labels
from twlcli.annotations.keywords import keyworded, read_keywords
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.write import write_table
from twlcli.errors import AnnotationError
from twlcli.images.image_file import is_image
from twlcli.labels import Vocabulary
from twlcli.recipe import DataRecipe
from twlcli.runs.run_folder import read_data
from twlcli.tagging.outputs.xmp.merging import EMPTY, merge


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def labels_of(annotations: Annotations) -> dict[str, list[str]]:
    return {each["image"]: list(each["labels"]) for each in annotations.records()}


def read(folder: Path, **options) -> dict[str, list[str]]:
    found = labels_of(read_keywords(folder, ReadOptions(**options)))
    return {Path(image).relative_to(folder).as_posix(): labels for image, labels in found.items()}


def tagged(content: bytes, *labels: str) -> bytes:
    return merge(content, labels, model="m") or b""


@pytest.mark.parametrize("name", EVERY_KIND)
def test_keywords_inside_a_photograph(tmp_path, name):
    path = f"a.{name}" if is_image(f"a.{name}") else "a.tif"
    make(tmp_path, {path: EVERY_KIND[name]})
    assert read(tmp_path) == {path: ["dog", "sea"] if name == "iptc.jpg" else ["dog"]}


@pytest.mark.parametrize("name", ["a.jpg.xmp", "a.xmp", "a.JPG.XMP", "A.XMP"])
def test_keywords_beside_a_photograph(tmp_path, name):
    make(tmp_path, {"sub/a.jpg": jpeg(), f"sub/{name}": described("dog")})
    assert read(tmp_path) == {"sub/a.jpg": ["dog"]}


@pytest.mark.parametrize("name", SIDECARS)
def test_sidecars_of_other_programs(tmp_path, name):
    make(tmp_path, {"a.jpg": jpeg(), "a.jpg.xmp": SIDECARS[name]})
    try:
        (labels,) = read(tmp_path).values()
    except AnnotationError:
        labels = []
    assert ("holiday" in labels) == (b">holiday<" in SIDECARS[name].replace(b"\0", b""))


def test_the_first_place_with_keywords_counts_alone(tmp_path):
    inside = jpeg(jpeg_xmp(described("inside")))
    make(
        tmp_path,
        {
            "a.jpg": inside,
            "a.jpg.xmp": described("full"),
            "a.xmp": described("stem"),
            "b.jpg": inside,
            "b.xmp": described("stem"),
            "c.jpg": inside,
            "c.xmp": EMPTY,
            "d.jpg": inside,
            "d.raf": b"",
            "d.xmp": described("of the raw one"),
            "e.jpg": jpeg(),
            "e.raf": b"",
            "e.xmp": described("of the raw one"),
        },
    )
    found = {name: labels for name, labels in read(tmp_path).items() if name.endswith(".jpg")}
    assert found == {
        "a.jpg": ["full"],
        "b.jpg": ["stem"],
        "c.jpg": ["inside"],
        "d.jpg": ["inside"],
        "e.jpg": ["of the raw one"],
    }


def test_xmp_and_iptc_inside_are_one_place(tmp_path):
    content = jpeg(
        jpeg_xmp(described("Été,dog", lr="animal|dog")),
        jpeg_iptc(iptc("été".encode(), b"dog", b"sea", charset=UTF8)),
    )
    make(tmp_path, {"a.jpg": content})
    assert read(tmp_path) == {"a.jpg": ["animal", "animal|dog", "sea", "Été"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("padding", ["", "\0", "\0\0\0"])
def test_sidecars_in_every_encoding(tmp_path, encoding, padding):
    mark = "" if encoding == "utf-8" else "\ufeff"
    text = described("dog,Küche").decode().rstrip()
    text = text if encoding == "utf-8" else text.replace("UTF-8", "UTF-16")
    content = (mark + text + padding).encode(encoding)
    make(tmp_path, {"a.jpg": b"", "a.jpg.xmp": content})
    assert read(tmp_path) == {"a.jpg": ["Küche", "dog"]}


def test_levels_imply_those_above(tmp_path):
    make(
        tmp_path,
        {
            "a.jpg": jpeg(jpeg_xmp(described("dog,animal,sea", lr="animal|pet|dog"))),
            "b.jpg": jpeg(jpeg_xmp(described("dog"))),  # nothing here says that it is an animal
        },
    )
    assert read(tmp_path) == {
        "a.jpg": ["animal", "animal|pet", "animal|pet|dog", "sea"],
        "b.jpg": ["dog"],
    }
    assert read_keywords(tmp_path).notes == (
        "words that are labels of their own, and in other photographs the last level of one: dog "
        "(animal|pet|dog)",
    )


def test_spellings_are_one_label_named_by_the_most_frequent(tmp_path):
    spellings = ["cafe\u0301", "Café", " café", "CAFÉ", "Animal|Dog", "animal|Dog", "animal|cat"]
    files = {
        f"{number}.jpg": jpeg(jpeg_xmp(described(each))) for number, each in enumerate(spellings)
    }
    assert list(read(make(tmp_path, files)).values()) == [
        *[["café"]] * 4,
        *[["animal", "animal|Dog"]] * 2,
        ["animal", "animal|cat"],
    ]


def test_what_twl_added_is_left_out_unless_asked_for(tmp_path):
    before = described("holiday", lr="Places|beach")
    make(
        tmp_path,
        {
            "a.jpg": jpeg(),
            "a.jpg.xmp": tagged(before, "animal|dog", "sea"),
            "b.jpg": jpeg(jpeg_xmp(tagged(before, "sea"))),
            "c.jpg": jpeg(),
            "c.xmp": tagged(EMPTY, "sea"),
        },
    )
    users = ["Places", "Places|beach", "holiday"]
    assert read(tmp_path) == {"a.jpg": users, "b.jpg": users}
    assert read_keywords(tmp_path).notes == (
        "photographs left out because twl added all their keywords: 1",
    )
    everything = read(tmp_path, own_keywords=True)
    assert everything == {
        "a.jpg": ["Places", "Places|beach", "animal", "animal|dog", "holiday", "sea"],
        "b.jpg": [*users, "sea"],
        "c.jpg": ["sea"],
    }


def test_photographs_without_keywords_are_left_out_and_counted(tmp_path):
    make(tmp_path, {"a.jpg": jpeg(), "b.jpg": jpeg(jpeg_iptc(iptc(b"dog"))), "c.png": b""})
    annotations = read_keywords(tmp_path)
    assert annotations.images == ("b.jpg",)
    assert annotations.notes == ("photographs left out because they have no keywords: 2",)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"no photograph has keywords; .* no keywords: 2$"):
        read_keywords(tmp_path)


def test_photographs_that_need_an_extra_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("twlcli.images.kinds._is_installed", lambda package: False)
    make(tmp_path, {"a.jpg": jpeg(jpeg_iptc(iptc(b"dog"))), "b.raf": b"", "b.xmp": described("x")})
    (note,) = read_keywords(tmp_path).notes
    assert note.startswith("1 file is a RAW photograph (RAF), which needs the 'raw' extra")


def test_people_count_where_asked_for(tmp_path):
    entry = b"""<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
    <e:PersonInImage><rdf:Bag><rdf:li>Ann</rdf:li></rdf:Bag></e:PersonInImage></rdf:Description>"""
    packet = described("sea").replace(b" </rdf:RDF>", entry + b"</rdf:RDF>")
    make(tmp_path, {"a.jpg": jpeg(jpeg_xmp(packet))})
    assert read(tmp_path) == {"a.jpg": ["sea"]}
    assert read(tmp_path, people=True) == {"a.jpg": ["Ann", "sea"]}


def test_splits_where_every_folder_is_one(tmp_path):
    dog = jpeg(jpeg_iptc(iptc(b"dog")))
    make(tmp_path, {"train/a.jpg": dog, "Validation/x/b.jpg": dog})
    assert read_keywords(tmp_path).splits == ("val", "train")
    make(tmp_path, {"2019/c.jpg": dog})  # train/ may be of railways
    assert read_keywords(tmp_path).splits == ("", "", "")


# --- which labels stay ----------------------------------------------------------------------------


def library(folder: Path, counts: dict[str, int]) -> Path:
    """Photographs with one keyword each, so many of each."""
    names = [name for name, count in counts.items() for _ in range(count)]
    return make(
        folder,
        {
            f"2019/{number:03}.jpg": jpeg(jpeg_iptc(iptc(name.encode())))
            for number, name in enumerate(names)
        },
    )


def test_rare_keywords_are_left_out_and_named(tmp_path):
    library(tmp_path, {"dog": 20, "cat": 19, "sea": 3})
    annotations = read_labels(tmp_path)
    assert annotations.vocabulary.names == ("dog",)
    assert len(annotations) == 42  # those of other keywords are known to be no dogs
    assert annotations.notes == (
        "labels left out because fewer than 20 images have them: 2 (cat 19, sea 3)",
    )
    assert read_labels(tmp_path, min_images=4).vocabulary.names == ("cat", "dog")
    assert read_labels(tmp_path, min_images=1).notes == ()
    with pytest.raises(AnnotationError, match=r"no label is in 21 images; there are 3 \(dog 20"):
        read_labels(tmp_path, min_images=21)
    with pytest.raises(AnnotationError, match="is 0; expected 1 or more"):
        read_labels(tmp_path, min_images=0)


def test_the_number_of_images_bounds_labels_of_other_formats_only_if_given(tmp_path):
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,dog|cat\nb.jpg,dog\n")
    assert read_labels(tmp_path).vocabulary.names == ("cat", "dog")
    annotations = read_labels(tmp_path, min_images=2)
    assert annotations.vocabulary.names == ("dog",)
    note = "labels left out because fewer than 2 images have them: 1 (cat 1)"
    assert annotations.notes == (note,)


def test_labels_are_left_out_by_patterns(tmp_path):
    library(tmp_path, {"People|Ann": 2, "Peoples": 1, "dog?": 1, "dogs": 1, "[x]": 1})
    for pattern, kept in {
        "People|*": {"People", "Peoples", "[x]", "dog?", "dogs"},
        "people*": None,
        "dog?": {"People", "People|Ann", "Peoples", "[x]", "dogs"},  # the label itself
        "dog*": {"People", "People|Ann", "Peoples", "[x]"},
        "?x?": {"People", "People|Ann", "Peoples", "dog?", "dogs"},
    }.items():
        if kept is None:
            with pytest.raises(AnnotationError, match=r"there is no label 'people\*' to ignore"):
                read_labels(tmp_path, min_images=1, ignore_labels=[pattern])
        else:
            found = read_labels(tmp_path, min_images=1, ignore_labels=[pattern])
            assert set(found.vocabulary) == kept


def test_a_model_is_shown_the_keywords_that_it_knows(tmp_path):
    library(tmp_path, {"Dog": 2, "cat": 1, "sea": 1})
    annotations = read_labels(tmp_path, vocabulary=Vocabulary(("dog", "bird")))
    assert annotations.vocabulary.names == ("dog", "bird")
    assert annotations.labels.dense().tolist() == [[1, 0], [1, 0], [0, 0], [0, 0]]
    assert annotations.unlisted == ("bird",)
    note = "labels that the model does not know were left out: cat, sea"
    assert annotations.notes == (note,)
    both = read_labels(tmp_path, vocabulary=Vocabulary(("dog", "Dog")))
    assert both.labels.dense().tolist() == [[0, 1], [0, 1], [0, 0], [0, 0]]


def test_a_recipe_says_how_they_are_read(tmp_path):
    library(tmp_path, {"dog": 20, "cat": 2, "sea": 1})
    assert read_data(DataRecipe(path=str(tmp_path))).vocabulary.names == ("dog",)
    recipe = DataRecipe(path=str(tmp_path), min_images=2, ignore_labels=("d*",))
    assert read_data(recipe).vocabulary.names == ("cat",)


# --- which format a folder is ---------------------------------------------------------------------

NOT_AS_CLASSES = (
    "folders were not read as classes, as the photographs in them have keywords; the format "
    "'folders' reads them so"
)


def halves(folder: Path, keyworded_images: int) -> Path:
    """Two folders of ten photographs, of which so many have keywords."""
    dog = jpeg(jpeg_iptc(iptc(b"dog")))
    return make(
        folder,
        {
            f"{2019 + number % 2}/{number:02}.jpg": dog if number < keyworded_images else jpeg()
            for number in range(20)
        },
    )


def test_folders_of_photographs_with_keywords_are_no_classes(tmp_path):
    halves(tmp_path, 10)
    assert find_format(tmp_path) == "keywords"
    assert NOT_AS_CLASSES in read_labels(tmp_path, min_images=1).notes
    forced = read_labels(tmp_path, min_images=1, format="keywords")
    assert NOT_AS_CLASSES not in forced.notes
    assert read_labels(tmp_path, format="folders").vocabulary.names == ("2019", "2020")


def test_folders_of_photographs_mostly_without_keywords_are_classes(tmp_path):
    annotations = read_labels(halves(tmp_path, 9))
    assert annotations.format == "folders"
    note = "45 % of the photographs have keywords, which were not read; the format 'keywords' "
    assert annotations.notes == (f"{note}reads them",)
    assert read_labels(tmp_path, format="folders").notes == ()


def test_a_folder_without_sub_folders_needs_few_keywords(tmp_path):
    make(tmp_path, {f"{number}.jpg": jpeg() for number in range(9)})
    with pytest.raises(AnnotationError, match="photographs with keywords"):
        find_format(tmp_path)
    make(tmp_path, {"a.jpg": jpeg(jpeg_iptc(iptc(b"dog")))})
    assert find_format(tmp_path) == "keywords"


def test_keywords_of_twl_are_no_reason_against_classes(tmp_path):
    make(
        tmp_path,
        {
            f"{label}/{number}.jpg{suffix}": tagged(EMPTY, "sea") if suffix else jpeg()
            for label in ("cat", "dog")
            for number in range(3)
            for suffix in ("", ".xmp")
        },
    )
    assert find_format(tmp_path) == "folders"
    assert find_format(tmp_path, ReadOptions(own_keywords=True)) == "keywords"


def test_other_formats_come_first(tmp_path):
    dog = jpeg(jpeg_iptc(iptc(b"dog")))
    make(tmp_path, {"a.jpg": dog, "a.txt": b"cat"})
    assert find_format(tmp_path) == "sidecars"
    make(tmp_path, {"labels.csv": b"image,labels\na.jpg,bird\n"})
    assert read_labels(tmp_path).vocabulary.names == ("bird",)


def test_a_sample_is_spread_over_the_folder(tmp_path):
    dog, none = jpeg(jpeg_iptc(iptc(b"dog"))), jpeg()
    make(tmp_path, {f"{number:04}.jpg": none if number < 500 else dog for number in range(1000)})
    assert keyworded(tmp_path) == 0.5


def test_the_table_of_a_conversion_is_read_back(tmp_path):
    library(tmp_path, {"animal|dog": 2, "a, b": 1})
    annotations = read_labels(tmp_path, min_images=1)
    write_table(annotations, tmp_path / "out.csv")
    assert labels_of(read_labels(tmp_path / "out.csv")) == labels_of(annotations)


# --- what is broken or hostile --------------------------------------------------------------------

BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + described("&b;")


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (BOMB, "a document type"),
        (described("dog")[:-30], "not well-formed"),
        (described("&undefined;"), "not well-formed"),
        (b"<subject>" + b"<a>" * 5000, "more than 256 elements deep"),
        (b"<subject/>", "no rdf:RDF"),
        (b"\xff\xfe<\0subject", "not UTF-16 text"),
        (b"subject" + b" " * (17 << 20), "is larger than 16 MiB"),
        (described(",".join(["x"] * 100_001)), "more than 100,000 keywords"),
    ],
)
def test_hostile_xmp_is_skipped_and_counted(tmp_path, packet, reason):
    good = jpeg(jpeg_iptc(iptc(b"dog")))
    make(tmp_path, {"a.jpg": good, "a.jpg.xmp": packet, "b.jpg": good, "b.jpg.xmp": packet})
    with ends_within(20):
        annotations = read_keywords(tmp_path)
    assert list(labels_of(annotations).values()) == [["dog"], ["dog"]]
    (note,) = annotations.notes
    assert note.startswith("files whose keywords could not be read, or not all: 2, such as a.jpg.")
    assert reason in note


def test_hostile_metadata_inside_is_skipped_and_the_rest_is_read(tmp_path):
    make(
        tmp_path,
        {
            "a.jpg": jpeg(jpeg_xmp(BOMB), jpeg_iptc(iptc(b"dog"))),
            "b.jpg": jpeg(jpeg_xmp(described("dog")), jpeg_iptc(b"\x1c\x02\x19\0\xffdog")),
            "c.tif": tiff([(33723, 7, b"nonsense"), (700, 1, described("dog"))]),
        },
    )
    annotations = read_keywords(tmp_path)
    assert list(labels_of(annotations).values()) == [["dog"]] * 3
    assert "not all: 3, such as a.jpg (its XMP is left alone: it has a document" in str(
        annotations.notes
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_is_no_file_is_skipped(tmp_path):
    make(tmp_path, {"a.jpg": jpeg(jpeg_iptc(iptc(b"dog")))})
    for name in ("a.jpg.xmp", "b.jpg"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "c.jpg").symlink_to("nowhere")
    with ends_within(5):
        annotations = read_keywords(tmp_path)
    assert annotations.images == ("a.jpg",)
    assert "not all: 3, such as a.jpg.xmp (is not a file (prw" in str(annotations.notes)


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*EVERY_KIND, "xmp"])
def test_mutated_metadata_is_read_or_skipped(tmp_path, name, count):
    packet = described("dog,sea", lr="animal|dog", digikam="animal/dog")
    kinds = {**with_packet(packet), **EVERY_KIND, "xmp": packet}
    whole, path = kinds[name], "b.jpg.xmp" if name == "xmp" else "b.jpg"
    make(tmp_path, {"a.jpg": jpeg(jpeg_iptc(iptc(b"dog"))), "b.jpg": jpeg()})
    for seed in range(count):
        dice = random.Random(seed)
        content = damaged(whole, dice)
        (tmp_path / path).write_bytes(content)
        with ends_within(20):
            annotations = read_keywords(tmp_path)
        assert annotations.images[0] == "a.jpg", seed


# --- with exiftool --------------------------------------------------------------------------------


XMP_SUFFIXES, IPTC_SUFFIXES = ("jpg", "tif", "png", "webp"), ("jpg", "tif")
WITH_EXIFTOOL = {
    "subject": (["-XMP-dc:Subject=Été", "-XMP-dc:Subject=dog"], ["dog", "Été"]),
    "lightroom": (["-XMP-lr:HierarchicalSubject=animal|dog"], ["animal", "animal|dog"]),
    "digikam": (["-XMP-digiKam:TagsList=animal/dog"], ["animal", "animal|dog"]),
    "iptc": (["-IPTC:Keywords=Été", "-IPTC:Keywords=dog"], ["dog", "Été"]),
    "iptc-utf8": (
        ["-IPTC:Keywords=Été", "-IPTC:Keywords=dog", "-codedcharacterset=utf8"],
        ["dog", "Été"],
    ),
}


@needs_exiftool
@pytest.mark.parametrize(
    ("way", "suffix"),
    [
        (way, suffix)
        for way in WITH_EXIFTOOL
        for suffix in (IPTC_SUFFIXES if way.startswith("iptc") else XMP_SUFFIXES)
    ],
)
def test_what_exiftool_embeds_is_read(tmp_path, way, suffix):
    options, labels = WITH_EXIFTOOL[way]
    path = tmp_path / f"a.{suffix}"
    picture().save(path)
    subprocess.run(["exiftool", "-q", "-overwrite_original", *options, str(path)], check=True)
    assert read(tmp_path) == {path.name: labels}


@needs_exiftool
def test_sidecars_of_exiftool_are_read(tmp_path):
    make(tmp_path, {"a.jpg": jpeg()})
    command = ["exiftool", "-q", "-XMP-dc:Subject=dog", str(tmp_path / "a.jpg.xmp")]
    subprocess.run(command, check=True)
    assert read(tmp_path) == {"a.jpg": ["dog"]}
