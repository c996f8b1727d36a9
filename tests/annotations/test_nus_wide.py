import numpy as np
import pytest

from twlcli.annotations import nus_wide
from twlcli.errors import AnnotationError

CONCEPTS = ("airport", "animal", "beach")
TARGETS = {
    "Train": np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
    "Test": np.array([[0, 0, 0], [1, 1, 1]]),
}


@pytest.fixture
def data(tmp_path):
    for name in ("ConceptsList", "ImageList", "TrainTestLabels", "Flickr"):
        (tmp_path / name).mkdir()
    (tmp_path / "ConceptsList/Concepts81.txt").write_text("\r\n".join(CONCEPTS) + "\r\n")
    for split, targets in TARGETS.items():
        images = [f"actor\\{split.lower()}_{row}.jpg" for row in range(len(targets))]
        (tmp_path / f"ImageList/{split}Imagelist.txt").write_text("\r\n".join(images) + "\r\n")
        for column, concept in enumerate(CONCEPTS):
            text = "".join(f"{value}\n" for value in targets[:, column])
            (tmp_path / f"TrainTestLabels/Labels_{concept}_{split}.txt").write_text(text)
    return tmp_path


def test_read_leaves_out_label_free_images(data):
    annotations = nus_wide.read(data)
    assert nus_wide.is_nus_wide(data)
    assert annotations.vocabulary.names == CONCEPTS
    assert annotations.images == ("actor/train_0.jpg", "actor/train_2.jpg", "actor/test_1.jpg")
    assert annotations.splits == ("train", "train", "test")
    np.testing.assert_array_equal(annotations.labels.dense(), [[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    assert annotations.notes == ("2 images without any label are left out",)


def test_read_paths_and_places(data):
    annotations = nus_wide.read(data)
    assert annotations.path(1) == data / "Flickr" / "actor" / "train_2.jpg"
    assert annotations.place(1) == (data / "ImageList/TrainImagelist.txt", 3)
    assert annotations.place(2) == (data / "ImageList/TestImagelist.txt", 2)


def test_read_labels_below_groundtruth_with_windows_lines_and_spaces(data):
    (data / "Groundtruth").mkdir()
    (data / "TrainTestLabels").rename(data / "Groundtruth/TrainTestLabels")
    (data / "Groundtruth/TrainTestLabels/Labels_beach_Train.txt").write_bytes(b"1 \r\n0\r\n0")
    np.testing.assert_array_equal(nus_wide.read(data).labels.dense()[:, 2], [1, 0, 1])


def test_read_images_folder_or_none(data):
    (data / "Flickr").rename(data / "images")
    assert nus_wide.read(data).root == data / "images"
    (data / "images").rmdir()
    assert nus_wide.read(data).root == data


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("TrainTestLabels/Labels_animal_Train.txt", "0\n0\n", r":3: the file has 2 lines; .* 3 im"),
        ("TrainTestLabels/Labels_animal_Test.txt", "0\n1\n1\n", r":3: the file has 3 lines; .* 2 "),
        ("TrainTestLabels/Labels_animal_Train.txt", "0\n2\n1\n", r":2: '2' is a label; expected 0"),
        ("TrainTestLabels/Labels_animal_Train.txt", "0\n01\n", r":2: '01' is a label; expected 0"),
        ("TrainTestLabels/Labels_animal_Train.txt", "0\n\n1\n", r":2: '' is a label; expected 0"),
        ("ImageList/TestImagelist.txt", "a.jpg\n\nb.jpg\n", r":2: the line is empty"),
        ("ImageList/TestImagelist.txt", "a.jpg\na.jpg\n", r":2: image 'a.jpg' was listed before"),
        ("ImageList/TestImagelist.txt", "", r": names no image"),
        ("ConceptsList/Concepts81.txt", "", r": names no concept"),
        ("ConceptsList/Concepts81.txt", "sky\nsky\n", r": label 'sky' is .* twice"),
    ],
)
def test_read_bad_file_names_the_place(data, file, content, message):
    (data / file).write_text(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        nus_wide.read(data)
    assert str(caught.value).startswith(str(data / file))


def test_read_missing_label_file_is_named(data):
    (data / "TrainTestLabels/Labels_animal_Test.txt").unlink()
    with pytest.raises(AnnotationError, match=r"Labels_animal_Test\.txt: no such file"):
        nus_wide.read(data)


def test_read_no_label_at_all_is_an_error(data):
    for file in (data / "TrainTestLabels").iterdir():
        file.write_text(file.read_text().replace("1", "0"))
    with pytest.raises(AnnotationError, match="no image has any label"):
        nus_wide.read(data)


def test_is_nus_wide_other_folder(tmp_path):
    assert not nus_wide.is_nus_wide(tmp_path)
    with pytest.raises(AnnotationError, match=r"Concepts81\.txt: no such file"):
        nus_wide.read(tmp_path)
