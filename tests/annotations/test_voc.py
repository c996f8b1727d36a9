import tarfile
from pathlib import Path

import numpy as np
import pytest

from twlcli.annotations import voc
from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError

REAL = Path(__file__).parents[3] / "shared" / "data" / "voc2007-trainval-224.tar"

# Images with an ordinary object, and images where all objects of the class are difficult.
REAL_COUNTS = {
    **{"aeroplane": (238, 2), "bicycle": (242, 12), "bird": (330, 3), "boat": (181, 7)},
    **{"bottle": (244, 18), "bus": (186, 11), "car": (711, 48), "cat": (337, 7)},
    **{"chair": (445, 127), "cow": (141, 5), "diningtable": (200, 63), "dog": (421, 9)},
    **{"horse": (287, 7), "motorbike": (245, 4), "person": (2006, 87), "pottedplant": (245, 28)},
    **{"sheep": (96, 1), "sofa": (229, 143), "train": (261, 2), "tvmonitor": (256, 23)},
}


def xml(*objects):
    """An annotation of objects given as (class, difficult)."""
    items = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        "<part><name>head</name></part></object>"
        for name, difficult in objects
    )
    return f"<annotation><folder>VOC2007</folder>{items}</annotation>"


def make_year(folder, images, lists):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for image_id, objects in images.items():
        (folder / "Annotations" / f"{image_id}.xml").write_text(xml(*objects))
        (folder / "JPEGImages" / f"{image_id}.jpg").touch()
    for split, ids in lists.items():
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\r\n".join(ids) + "\r\n")
    return folder


IMAGES = {
    "000005": [("chair", 0), ("chair", 1), ("person", 0)],
    "000007": [("car", 1), ("car", 1), ("dog", 0)],
    "000009": [],
    "000012": [("tvmonitor", 0)],
    "000016": [("bird", 0)],
}


@pytest.fixture
def year(tmp_path):
    lists = {
        "train": ["000007", "000005"],
        "val": ["000009"],
        "test": ["000012"],
        "trainval": ["000005", "000007", "000009"],
    }
    return make_year(tmp_path / "VOCdevkit" / "VOC2007", IMAGES, lists)


def labels_of(annotations, row):
    """(present, unknown) names of one image."""
    names, labels = annotations.vocabulary.names, annotations.labels
    return [[names[column] for column in part(row)] for part in (labels.present, labels.unknown)]


@pytest.mark.parametrize("given", [".", "..", "../.."])
def test_read_finds_the_year_in_devkit_or_above(year, given):
    path = (year / given).resolve()
    assert voc.is_voc(path)
    annotations = voc.read(path)
    assert annotations.source == path
    assert annotations.images == ("000007.jpg", "000005.jpg", "000009.jpg", "000012.jpg")
    assert annotations.path(0) == year / "JPEGImages" / "000007.jpg"
    assert annotations.splits == ("train", "train", "val", "test")
    assert annotations.vocabulary.names == tuple(sorted(voc.VOC_CLASSES))
    assert len(annotations.vocabulary) == 20


def test_read_difficult_only_is_unknown(year):
    annotations = voc.read(year)
    assert labels_of(annotations, 0) == [["dog"], ["car"]]
    assert labels_of(annotations, 1) == [["chair", "person"], []]
    assert labels_of(annotations, 2) == [[], []]


def test_read_image_in_no_list_is_left_out_and_noted(year):
    assert voc.read(year).notes == (f"{year}: 1 of 5 images left out, being in no split list",)


def test_read_place_is_the_line_of_the_list(year):
    assert voc.read(year).place(1) == (year / "ImageSets/Main/train.txt", 2)


def test_read_only_trainval_is_train(tmp_path):
    year = make_year(tmp_path / "VOC2008", IMAGES, {"trainval": list(IMAGES)})
    assert voc.read(year).splits == ("train",) * 5


def test_read_list_without_any_xml_is_left_out_and_noted(year):
    (year / "ImageSets/Main/test.txt").write_text("2012_000001\n2012_000002\n")
    annotations = voc.read(year)
    assert annotations.split_names() == ("train", "val")
    assert any("test.txt is left out" in note for note in annotations.notes)


def test_read_without_lists_reads_every_xml(tmp_path):
    annotations = voc.read(make_year(tmp_path / "mine", IMAGES, {}))
    assert len(annotations) == 5
    assert annotations.split_names() == ()


def test_read_takes_the_file_that_is_there(year):
    (year / "JPEGImages/000005.jpg").rename(year / "JPEGImages/000005.png")
    assert voc.read(year).images[1] == "000005.png"


def test_read_several_years_names_them(year):
    make_year(year.parent / "VOC2012", IMAGES, {"train": ["000005"]})
    with pytest.raises(AnnotationError, match=r"2 years of VOC \(VOC2007, VOC2012\); name one"):
        voc.read(year.parent)
    assert len(voc.read(year.parent / "VOC2012")) == 1


def test_read_other_folder_says_what_was_expected(tmp_path):
    assert not voc.is_voc(tmp_path)
    assert not voc.is_voc(tmp_path / "nowhere")
    with pytest.raises(AnnotationError, match=r"not a VOC folder; expected Annotations/"):
        voc.read(tmp_path)


def test_read_image_in_two_splits_names_file_and_line(year):
    (year / "ImageSets/Main/val.txt").write_text("000009\n000005\n")
    with pytest.raises(
        AnnotationError, match=r"val\.txt:2: image '000005\.jpg' is already on line 2"
    ):
        voc.read(year)


def test_read_missing_xml_names_file_and_line(year):
    (year / "Annotations/000005.xml").unlink()
    with pytest.raises(AnnotationError, match=r"train\.txt:2: image '000005' has no .*000005\.xml"):
        voc.read(year)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xml(("", 0)), r"an object has no <name>"),
        (xml(("chair", "yes")), r"<difficult> of a chair is 'yes'; expected 0 or 1"),
        (xml(("chair", 0))[:-20], r"000005\.xml:1: column \d+: not well-formed XML \("),
        ("", r"000005\.xml:1: column 1: not well-formed XML \(no element found\)"),
        ("<html/>", r"its root is <html>; expected <annotation>"),
        ('<?xml version="1.0" encoding="nope"?><annotation/>', r"not well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', r"has a DOCTYPE"),
    ],
)
def test_read_bad_xml_names_the_file(year, content, message):
    file = year / "Annotations/000005.xml"
    file.write_text(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        voc.read(year)
    assert str(caught.value).startswith(str(file))


def test_read_doctype_in_utf_16_is_refused(year):
    content = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><annotation/>'
    (year / "Annotations/000005.xml").write_bytes(content.encode("utf-16"))
    with pytest.raises(AnnotationError, match="has a DOCTYPE"):
        voc.read(year)


@pytest.mark.skipif(not REAL.is_file(), reason=f"VOC2007 is not at {REAL}")
def test_read_voc2007_counts(tmp_path):
    for folder in ("Annotations", "ImageSets/Main"):
        (tmp_path / "VOCdevkit/VOC2007" / folder).mkdir(parents=True)
    lists = ("train.txt", "val.txt", "trainval.txt")
    with tarfile.open(REAL) as tar:
        for member in tar:
            if member.name.endswith(".xml") or Path(member.name).name in lists:
                content = tar.extractfile(member)
                assert content is not None
                (tmp_path / member.name).write_bytes(content.read())
    annotations = voc.read(tmp_path / "VOCdevkit")
    assert len(annotations.split("train")) == 2500
    assert len(annotations.split("val")) == 2508
    present = annotations.labels.present_per_label()
    unknown = annotations.labels.unknown_per_label()
    counts = zip(present.tolist(), unknown.tolist(), strict=True)
    assert dict(zip(annotations.vocabulary, counts, strict=True)) == REAL_COUNTS
    np.testing.assert_allclose(annotations.labels.present_per_image().mean(), 1.458, atol=5e-4)


def test_own_classes_are_noted(tmp_path):
    images = {"a": [("chiar", 0), ("helmet", 0)], "b": [("person", 0)]}
    annotations = voc.read(make_year(tmp_path / "mine", images, {"train": ["a", "b"]}))
    assert annotations.vocabulary.names == ("chiar", "helmet", "person")
    assert annotations.notes == (
        "classes beside VOC's 20, so only those that occur are labels: chiar; did you mean "
        "'chair'?, helmet",
    )


BESIDE = {
    "beside": ["a.jpg", "a.xml", "b.png", "b.xml", "c.jpg"],
    "splits": ["train/a.jpg", "train/a.xml", "valid/b.jpg", "valid/b.xml", "valid/c.jpg"],
    "apart": ["images/a.jpg", "annotations/a.xml", "images/b.jpg", "annotations/b.xml", "c.jpg"],
    "around": ["a.jpg", "b.jpg", "Annotations/a.xml", "Annotations/b.xml", "c.jpg"],
}


@pytest.mark.parametrize("layout", BESIDE)
def test_xml_files_beside_images(tmp_path, layout):
    for name in BESIDE[layout]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        content = xml(("helmet", 0), ("vest", int("b." in name))) if ".xml" in name else ""
        (tmp_path / name).write_text(content)
    annotations = read_labels(tmp_path)
    assert annotations.format == "voc"
    assert annotations.vocabulary.names == ("helmet", "vest")
    assert annotations.labels.dense().tolist() == [[1, 1], [1, -1]]
    assert annotations.splits == (("train", "val") if layout == "splits" else ("", ""))
    assert all(annotations.path(row).exists() for row in range(2))
    assert annotations.notes == ("images left out because they have no XML file: 1",)


def test_an_xml_file_of_two_images_is_refused(tmp_path):
    for name in ("x/a.jpg", "y/a.jpg", "annotations/a.xml", "y/b.jpg", "annotations/c.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(xml(("helmet", 0)) if ".xml" in name else "")
    with pytest.raises(AnnotationError, match=r"a\.xml: belongs to 2 images called a"):
        read_labels(tmp_path)
    (tmp_path / "x/a.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"c\.xml: belongs to no image called c"):
        read_labels(tmp_path)
