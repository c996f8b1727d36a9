from dataclasses import replace
from pathlib import Path

import pytest

from twlcli.annotations.missing import check_images, find_missing_images, with_forward_slashes
from twlcli.annotations.table import read_table
from twlcli.errors import AnnotationError


def table(folder, images, there=()):
    for name in there:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path = folder / "photos.csv"
    path.write_text("image,labels\n" + "".join(f"{image},dog\n" for image in images))
    return read_table(path)


def error_of(annotations):
    with pytest.raises(AnnotationError) as caught:
        check_images(annotations)
    return str(caught.value).replace(f"{annotations.root}/", "")


def test_missing_none_is_found_without_asking_for_single_files(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere.jpg"
    names = ["a.jpg", "sub/b.jpg", "sub/c.jpg", "sub/../sub/d.jpg"]
    annotations = table(tmp_path, [*names, elsewhere], [*names, elsewhere])
    monkeypatch.setattr(Path, "is_file", lambda self: pytest.fail(f"asked for {self}"))
    assert find_missing_images(annotations).tolist() == []
    check_images(annotations)


@pytest.mark.parametrize("name", ["a" * 5000, "b/" * 3000 + "c", "nul\0", "half\ud83d", "x\0/y"])
def test_missing_is_what_no_file_can_be_called(tmp_path, name):
    annotations = replace(table(tmp_path, ["a.jpg", "b.jpg"], ["a.jpg"]), images=("a.jpg", name))
    assert find_missing_images(annotations).tolist() == [1]
    assert "is missing (looked for" in error_of(annotations)
    odd = replace(annotations, images=("a.jpg", f"c\\{name}"))
    assert with_forward_slashes(odd).images == odd.images


def test_missing_rows(tmp_path):
    annotations = table(
        tmp_path,
        ["a.jpg", "no.jpg", "sub/b.jpg", "none/c.jpg", "sub", "link.jpg", "a.jpg/d.jpg", "/no.jpg"],
        ["a.jpg", "sub/b.jpg"],
    )
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    assert find_missing_images(annotations).tolist() == [1, 3, 4, 5, 6, 7]


def test_missing_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    annotations = table(tmp_path, ["sub/a.jpg", "sub/no.jpg"], ["sub/a.jpg"])

    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("os.scandir", refuse)
    assert find_missing_images(annotations).tolist() == [1]


def test_missing_error_one(tmp_path):
    annotations = table(tmp_path, ["a.jpg", "b.jpg"], ["a.jpg"])
    assert error_of(annotations) == "photos.csv:3: image 'b.jpg' is missing (looked for b.jpg)"


def test_missing_error_other_letter_case(tmp_path):
    annotations = table(tmp_path, ["a.jpg", "B.jpg", "c.jpg"], ["a.jpg", "b.JPG"])
    assert error_of(annotations) == (
        "photos.csv:3: image 'B.jpg' is missing (looked for B.jpg), and 1 more of 3 are; "
        "there is 'b.JPG'"
    )


@pytest.mark.parametrize("there", ["b.png", "B.jpeg", "0b.jpg"])
def test_missing_error_names_one_like_it(tmp_path, there):
    message = error_of(table(tmp_path, ["a.jpg", "b.jpg"], ["a.jpg", there]))
    assert message.endswith(f"; there is '{there}'") == (there != "0b.jpg")


def test_missing_error_other_zeros(tmp_path):
    message = error_of(table(tmp_path, ["7.jpg", "8.jpg"], ["x_007.jpg", "007.jpg"]))
    assert "; there is '007.jpg'; name their folder" in message


def test_missing_error_all(tmp_path):
    assert error_of(table(tmp_path, ["x/a.jpg", "x/b.jpg"])) == (
        "photos.csv:2: image 'x/a.jpg' is missing (looked for x/a.jpg), and so are all 2 images; "
        "name their folder with `images`"
    )


def test_backslashes_are_slashes_where_that_file_exists(tmp_path):
    annotations = table(tmp_path, ["sub\\a.jpg", "sub\\no.jpg"], ["sub/a.jpg"])
    changed = with_forward_slashes(annotations)
    assert changed.images == ("sub/a.jpg", "sub/no.jpg")
    assert changed.notes == ("backslashes in image paths were read as forward slashes",)


def test_backslashes_in_names_are_kept(tmp_path):
    annotations = table(tmp_path, ["odd\\name.jpg"], ["odd\\name.jpg", "odd/name.jpg"])
    assert with_forward_slashes(annotations) is annotations
    annotations = table(tmp_path, ["no\\name.jpg"])
    assert with_forward_slashes(annotations) is annotations
