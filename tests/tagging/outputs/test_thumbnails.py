"""Pictures beside a gallery, of images that browsers do not show."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tests.browser import needs_chromium, said
from tests.images.encoded import encode, picture
from tests.tagging.models import write_model
from twlcli.errors import TwlError
from twlcli.images.image_file import ImageFile
from twlcli.outputs import Gallery
from twlcli.tagging.outputs.gallery import thumbnails as module
from twlcli.tagging.run import tag_files

FOLDER = "g-thumbnails"


@pytest.fixture
def photos(tmp_path) -> Path:
    folder: Path = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(picture(30, 20), "PNG"))
    for name in ("b.tif", "c.jp2"):
        kind = {"tif": "TIFF", "jp2": "JPEG2000"}[name[-3:]]
        (folder / name).write_bytes(encode(picture(640, 400), kind))
    with tarfile.open(folder / "d.tar", "w") as archive:
        archive.add(folder / "a.png", "inside.png")
    return folder


def write(photos: Path, *names: str) -> Path:
    page = photos.parent / "g.html"
    model = write_model(photos.parent / "model.onnx")
    paths = [photos / name for name in names]
    tag_files(paths, model=model, outputs=[Gallery(page)], journal=None, force=True)
    return page


def named(page: Path) -> dict[str, str | None]:
    text = page.read_text("utf-8")
    found = re.search(r'<script id="rows" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    rows = json.loads(found[1])[:-1]
    return {name.split("photos/")[-1]: more[0] if more else None for name, _, _, *more in rows}


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_what_browsers_do_not_show_has_a_picture(photos):
    found = named(write(photos, "a.png", "b.tif", "c.jp2", "d.tar"))
    assert found["a.png"] is None
    folder = photos.parent / FOLDER
    written = {path.name for path in folder.iterdir()}
    assert written == {found["b.tif"], found["c.jp2"], found["d.tar/inside.png"]}
    assert size_of(folder / str(found["b.tif"])) == (320, 200)
    assert size_of(folder / str(found["d.tar/inside.png"])) == (30, 20)


def test_pictures_are_made_once_and_removed_with_their_images(photos, monkeypatch):
    page = write(photos, "b.tif", "c.jp2")
    folder = photos.parent / FOLDER
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "mine.jpg").write_bytes(b"mine")
    write(photos, "b.tif")
    kept = named(page)["b.tif"]
    assert {path.name for path in folder.iterdir()} == {kept, "mine.jpg"}
    assert (folder / str(kept)).stat().st_mtime_ns == before[str(kept)]
    (photos / "b.tif").write_bytes(encode(picture(200, 400), "TIFF"))
    write(photos, "b.tif")
    assert size_of(folder / str(named(page)["b.tif"])) == (160, 320)
    (folder / "mine.jpg").unlink()
    write(photos, "a.png")
    assert not folder.exists()


def test_of_many_some_are_made_before_the_end(photos, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    found = named(write(photos, "b.tif", "c.jp2"))
    assert {path.name for path in (photos.parent / FOLDER).iterdir()} == set(found.values())


def test_an_image_that_has_gone_has_none(photos):
    found = module.Thumbnails(photos.parent / "g.html")
    assert found.name_of(ImageFile(photos / "gone.tif", "gone.tif")) is not None
    found.finish()
    assert not list((photos.parent / FOLDER).glob("*"))


def test_a_file_in_the_place_of_the_folder_is_said(photos):
    (photos.parent / FOLDER).write_text("mine")
    with pytest.raises(TwlError, match=FOLDER):
        write(photos, "b.tif")
    assert not (photos.parent / "g.html").exists()


@needs_chromium
def test_the_page_shows_them(photos):
    page = write(photos, "a.png", "b.tif", "d.tar")
    script = """
    setTimeout(() => say(all("#images img").map((each) => [
      each.naturalWidth, each.parentElement.tagName])), 1500);
    """
    (shown,) = said(page, script)
    assert shown == [[30, "A"], [320, "A"], [30, "DIV"]]
