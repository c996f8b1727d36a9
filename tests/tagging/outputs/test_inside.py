"""Tags inside photographs: through a stand-in for ExifTool, and ExifTool itself where it is."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import twlcli
from tests.cli.test_tag import posix
from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from tests.tagging.outputs.test_xmp import DIGIKAM_LIST, SUBJECT, described, needs_exiftool, read
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.outputs import EmbeddedXmp
from twlcli.tagging.outputs.exiftool import ExifTool
from twlcli.tagging.outputs.xmp.inside import EmbeddedWriter
from twlcli.tagging.outputs.xmp.photographs import packet_of
from twlcli.tagging.tags import Tags
from twlcli.xmp.embedded import embedded_keywords

pytestmark = posix

# As it stands inside photographs: in a wrapper, and without an XML declaration.
PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    + described("holiday", digikam="Places/holiday").partition(b"\n")[2]
    + b'<?xpacket end="w"?>'
)


@pytest.fixture
def fake(tmp_path_factory):
    """The folder of the stand-in, and it itself in it as `exiftool`."""
    folder = tmp_path_factory.mktemp("fake")
    source = Path(__file__).with_name("fake_exiftool.py").read_text()
    program = folder / "exiftool"
    program.write_text(f"#!{sys.executable}\n{source}")
    program.chmod(0o755)
    return folder


@pytest.fixture(params=["fake", pytest.param("real", marks=needs_exiftool)])
def program(request):
    if request.param == "real":
        return "exiftool"
    return str(request.getfixturevalue("fake") / "exiftool")


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "%d -@ é.jpg"
    path.write_bytes(encode(picture(), "JPEG", xmp=PACKET))
    return path


def write(exiftool: ExifTool, path: Path, *labels: str, **options: Any) -> bool:
    writer = EmbeddedWriter(exiftool, EmbeddedXmp(**options), model="m")
    tags = Tags(path.name, labels, (0.5,) * len(labels))
    return writer.write(ImageFile(path, path.name), tags).changed


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_tags_are_merged_into_the_photograph_and_taken_out(program, photograph, tmp_path):
    before, was = photograph.read_bytes(), pixels(photograph)
    photograph.chmod(0o640)
    with ExifTool(program) as exiftool:
        assert write(exiftool, photograph, "animal|dog", "Holiday")
        assert not write(exiftool, photograph, "animal|dog", "Holiday")
        packet = packet_of(exiftool, photograph)
        assert read(packet, SUBJECT) == ["holiday", "animal", "dog"]
        assert read(packet, DIGIKAM_LIST) == ["Places/holiday", "animal/dog"]
        assert pixels(photograph) == was
        assert names(tmp_path) == [photograph.name, photograph.name + "_original"]
        assert photograph.with_name(photograph.name + "_original").read_bytes() == before
        assert stat.S_IMODE(photograph.stat().st_mode) == 0o640
    (tmp_path / "plain.jpg").write_bytes(before)
    result = twlcli.untag(tmp_path, embedded=True, exiftool=program, keep_original=False)
    assert (result.cleaned, result.removed, result.failures) == (1, 0, ())
    assert packet_inside(program, photograph) == packet_inside(program, tmp_path / "plain.jpg")
    assert photograph.with_name(photograph.name + "_original").read_bytes() == before


def packet_inside(program: str, path: Path) -> bytes:
    with ExifTool(program) as exiftool:
        return packet_of(exiftool, path)


def test_a_photograph_without_keywords_gets_a_packet_and_loses_it_again(program, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(picture(), "JPEG"))
    with ExifTool(program) as exiftool:
        assert not write(exiftool, path)
        assert write(exiftool, path, "dog", keep_original=False)
        assert names(tmp_path) == ["a.jpg"]
        assert list(embedded_keywords(path).values()) == [["dog"], [], ["dog"]]
        assert write(exiftool, path, keep_original=False)  # its tags are gone
        assert packet_of(exiftool, path) == b""


@needs_exiftool
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif", "jp2"])
def test_formats_that_exiftool_writes(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    picture().save(path)
    was = pixels(path)
    with ExifTool() as exiftool:
        try:
            write(exiftool, path, "dog")
        except ImageError as error:
            assert suffix == "webp" and "not yet supported" in str(error)  # before 12.40
            return
    assert list(embedded_keywords(path).values()) == [["dog"], [], ["dog"]]
    assert pixels(path) == was
    assert twlcli.untag(tmp_path, embedded=True).cleaned == 1
    assert list(embedded_keywords(path).values()) == [[], [], []]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("refuse", r"ExifTool did not write into it \(Error: Format error"),
        ("hang", "ExifTool ended or did not answer"),
        ("die", "ExifTool ended or did not answer"),
        ("pixels", "its pixels changed on the way"),
        ("forget", "ExifTool did not write into it"),
    ],
)
def test_a_photograph_is_left_alone_unless_all_is_well(
    fake, photograph, tmp_path, behaviour, reason
):
    before = photograph.read_bytes()
    (fake / "behaviour").write_text(behaviour)
    with ExifTool(str(fake / "exiftool"), seconds=3) as exiftool:
        with pytest.raises(ImageError, match=reason):
            write(exiftool, photograph, "dog")
        assert photograph.read_bytes() == before
        assert names(tmp_path) == [photograph.name]
        (fake / "behaviour").unlink()
        assert write(exiftool, photograph, "dog")  # the next one goes well


def test_one_process_for_all_and_no_name_is_an_option(fake, tmp_path):
    paths = [tmp_path / name for name in ("-execute.jpg", "#a.jpg", " b.jpg", "c\udce9.jpg")]
    for path in paths:
        path.write_bytes(encode(picture(), "JPEG"))
    with ExifTool(str(fake / "exiftool")) as exiftool:
        for path in paths:
            write(exiftool, path, "dog", keep_original=False)
        first = exiftool._process
        write(exiftool, paths[0], "cat", keep_original=False)
        assert exiftool._process is first is not None
    assert first.returncode == 0
    asked = [json.loads(line)[-1] for line in (fake / "commands").read_text().splitlines()]
    assert {path.rpartition("/")[2] for path in asked} == {path.name for path in paths}
    assert all(path.startswith("/") for path in asked)


def test_processes_one_after_the_other_do_not_read_each_others_answers(fake):
    for _ in range(10):
        with ExifTool(str(fake / "exiftool"), seconds=5) as exiftool:
            assert exiftool("-b", "-XMP", fake / "exiftool") == b""
            ended = exiftool._pump
        assert not ended.is_alive()


def test_names_that_cannot_be_said_are_refused(fake, tmp_path):
    path = tmp_path / "a\n-delete_original.jpg"
    path.write_bytes(encode(picture(), "JPEG"))
    with ExifTool(str(fake / "exiftool")) as exiftool:
        with pytest.raises(ImageError, match="its path has a line break"):
            write(exiftool, path, "dog")
        assert not (fake / "commands").exists()


def test_what_is_not_written_into(fake, tmp_path):
    (tmp_path / "a.CR2").touch()
    (tmp_path / "b.jpg").symlink_to("a.CR2")
    with ExifTool(str(fake / "exiftool")) as exiftool:
        for name, reason in (("a.CR2", "camera raw"), ("b.jpg", "not a regular file")):
            with pytest.raises(ImageError, match=reason):
                write(exiftool, tmp_path / name, "dog")
        member = ImageFile(tmp_path / "s.tar", "s.tar/a.jpg", byte_range=ByteRange(512, 10, 0))
        writer = EmbeddedWriter(exiftool, EmbeddedXmp(), model="m")
        with pytest.raises(ImageError, match="in a tar file"):
            writer.write(member, Tags(member.name, ("dog",), (0.9,)))


def test_without_exiftool_the_run_is_refused(tmp_path):
    model = write_model(tmp_path / "model.onnx")
    (tmp_path / "a.jpg").write_bytes(encode(picture(), "JPEG"))
    with pytest.raises(TwlError, match="no-such-tool is not installed"):
        twlcli.tag_files(
            [tmp_path], model=model, outputs=[EmbeddedXmp(exiftool="no-such-tool")], journal=None
        )


def test_a_run_is_not_repeated_because_it_changed_the_photographs(program, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, color in enumerate([(255, 0, 0), (0, 255, 0)]):
        image = Image.new("RGB", (30, 20), color)
        (folder / f"{number}.jpg").write_bytes(encode(image, "JPEG"))
    shutil.copy(folder / "0.jpg", folder / "2.jpg")
    os.utime(folder / "2.jpg", ns=(0, 0))
    tallies = [
        twlcli.tag_files([folder], model=model, outputs=[EmbeddedXmp(exiftool=program)])
        for _ in range(2)
    ]
    assert [(each.stored, each.photographs) for each in tallies] == [(0, 3), (3, 0)]
    assert tallies[1].sidecars_unchanged == 3
