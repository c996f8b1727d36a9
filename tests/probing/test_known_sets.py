"""Small trees in the true layouts of the known sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from twlcli.errors import AnnotationError
from twlcli.probing.known_sets import KNOWN_SETS, Counts, read_known_set

Told = dict[str, tuple[str, str]]  # class and split of each image


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def touch(folder: Path, told: Told) -> Told:
    for image in told:
        write(folder / image)
    return told


def cub(folder: Path) -> Told:
    folder /= "CUB_200_2011"
    albatross, oriole = "001.Black_footed_Albatross", "096.Hooded_Oriole"
    images = [f"{albatross}/A_0046_18.jpg", f"{albatross}/A_0009_34.jpg", f"{oriole}/O_0010_9.jpg"]
    write(folder / "images.txt", *(f"{n} {image}" for n, image in enumerate(images, 1)))
    write(folder / "image_class_labels.txt", "1 1", "2 1", "3 96")
    write(folder / "train_test_split.txt", "1 0", "2 1", "3 1")
    write(folder / "classes.txt", f"1 {albatross}", f"96 {oriole}")
    classes = (albatross, "test"), (albatross, "train"), (oriole, "train")
    return touch(folder, {f"images/{i}": each for i, each in zip(images, classes, strict=True)})


def dtd(folder: Path) -> Told:
    folder /= "dtd"
    write(folder / "labels/train1.txt", "banded/banded_0002.jpg")
    write(folder / "labels/val1.txt", "zigzagged/zigzagged_0004.jpg")
    write(folder / "labels/test1.txt", "banded/banded_0008.jpg")
    write(folder / "labels/test2.txt", "banded/banded_0009.jpg")
    told = {
        "images/banded/banded_0002.jpg": ("banded", "train"),
        "images/zigzagged/zigzagged_0004.jpg": ("zigzagged", "train"),
        "images/banded/banded_0008.jpg": ("banded", "test"),
    }
    return touch(folder, told)


def food101(folder: Path) -> Told:
    folder /= "food-101"
    write(folder / "meta/train.txt", "apple_pie/1005649", "waffles/1")
    write(folder / "meta/test.txt", "apple_pie/1011328")
    told = {
        "images/apple_pie/1005649.jpg": ("apple_pie", "train"),
        "images/waffles/1.jpg": ("waffles", "train"),
        "images/apple_pie/1011328.jpg": ("apple_pie", "test"),
    }
    return touch(folder, told)


def aircraft(folder: Path) -> Told:
    folder /= "fgvc-aircraft-2013b"
    write(folder / "data/images_variant_trainval.txt", "0481847 Cessna 172", "1025794 F/A-18")
    write(folder / "data/images_variant_test.txt", "0056978 Cessna 172")
    told = {
        "data/images/0481847.jpg": ("Cessna 172", "train"),
        "data/images/1025794.jpg": ("F/A-18", "train"),
        "data/images/0056978.jpg": ("Cessna 172", "test"),
    }
    return touch(folder, told)


def pets(folder: Path) -> Told:
    write(folder / "annotations/trainval.txt", "Abyssinian_100 1 1 1", "american_bulldog_10 2 2 1")
    write(folder / "annotations/test.txt", "Abyssinian_201 1 1 1")
    told = {
        "images/Abyssinian_100.jpg": ("Abyssinian", "train"),
        "images/american_bulldog_10.jpg": ("american_bulldog", "train"),
        "images/Abyssinian_201.jpg": ("Abyssinian", "test"),
    }
    return touch(folder, told)


def sun397(folder: Path) -> Told:
    abbey, outdoor = "a/abbey/sun_aaa.jpg", "a/apartment_building/outdoor/sun_aab.jpg"
    write(folder / "SUN397/ClassName.txt", "/a/abbey", "/a/apartment_building/outdoor")
    write(folder / "Partitions/Training_01.txt", f"/{abbey}", f"/{outdoor}")
    write(folder / "Partitions/Testing_01.txt", "/a/abbey/sun_aac.jpg")
    told = {
        abbey: ("abbey", "train"),
        outdoor: ("apartment_building/outdoor", "train"),
        "a/abbey/sun_aac.jpg": ("abbey", "test"),
    }
    return touch(folder / "SUN397", told)


def flowers(folder: Path) -> Told:
    io = pytest.importorskip("scipy.io")
    folder /= "flowers-102"
    folder.mkdir()
    io.savemat(folder / "imagelabels.mat", {"labels": np.array([[7, 9, 7]], np.uint8)})
    parts = {"trnid": [[1]], "valid": [[2]], "tstid": [[3]]}
    io.savemat(folder / "setid.mat", {k: np.array(v, np.uint16) for k, v in parts.items()})
    told = {
        "jpg/image_00001.jpg": ("7", "train"),
        "jpg/image_00002.jpg": ("9", "train"),
        "jpg/image_00003.jpg": ("7", "test"),
    }
    return touch(folder, told)


def cars(folder: Path) -> Told:
    io = pytest.importorskip("scipy.io")
    folder /= "stanford_cars"
    (folder / "devkit").mkdir(parents=True)

    def annotations(*rows: tuple[int, str]) -> dict[str, np.ndarray]:
        made = np.zeros((1, len(rows)), dtype=[("class", object), ("fname", object)])
        made[0] = [(np.uint8(number), name) for number, name in rows]
        return {"annotations": made}

    names = np.array([["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]], dtype=object)
    io.savemat(folder / "devkit/cars_meta.mat", {"class_names": names})
    io.savemat(
        folder / "devkit/cars_train_annos.mat", annotations((2, "00001.jpg"), (1, "00002.jpg"))
    )
    io.savemat(folder / "cars_test_annos_withlabels.mat", annotations((1, "00001.jpg")))
    told = {
        "cars_train/00001.jpg": ("Acura RL Sedan 2012", "train"),
        "cars_train/00002.jpg": ("AM General Hummer SUV 2000", "train"),
        "cars_test/00001.jpg": ("AM General Hummer SUV 2000", "test"),
    }
    return touch(folder, told)


LAYOUTS: dict[str, Callable[[Path], Told]] = {
    each.__name__: each for each in (aircraft, cars, cub, dtd, flowers, food101, pets, sun397)
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_set_is_read_as_its_download_unpacks_it(name, tmp_path):
    told = LAYOUTS[name](tmp_path)
    read = read_known_set(name, tmp_path, counts=Counts(2, 2, 1))
    found = {each["image"]: (*each["labels"], each["split"]) for each in read.records()}
    assert found == {str(read.root / image): each for image, each in told.items()}
    assert all(Path(image).exists() for image in found)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_folder_itself_is_as_good_as_the_one_around_it(name, tmp_path):
    LAYOUTS[name](tmp_path)
    around = read_known_set(name, tmp_path, counts=Counts(2, 2, 1))
    assert read_known_set(name, around.root, counts=Counts(2, 2, 1)).images == around.images


def caltech101(folder: Path) -> None:
    for of_class, images in (("BACKGROUND_Google", 33), ("accordion", 31)):
        for number in range(images):
            write(folder / "101_ObjectCategories" / of_class / f"image_{number:04d}.jpg")
    write(folder / "101_ObjectCategories/BACKGROUND_Google/tmp")


def test_caltech_has_thirty_training_images_of_each_class(tmp_path):
    caltech101(tmp_path)
    read = read_known_set("caltech101", tmp_path, counts=Counts(2, 60, 4))
    training = read.split("train").labels.dense().sum(0)
    assert training.tolist() == [30, 30]
    again = read_known_set("caltech101", tmp_path, counts=Counts(2, 60, 4))
    assert read.splits == again.splits
    assert read.splits[:30] != ("train",) * 30  # drawn, not the first


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_part_of_a_set_is_refused(name, tmp_path):
    LAYOUTS[name](tmp_path)
    with pytest.raises(AnnotationError) as caught:
        read_known_set(name, tmp_path)
    message = str(caught.value)
    assert "found 2 classes, 2 training and 1 test images; expected" in message
    assert f"{KNOWN_SETS[name].counts} of {KNOWN_SETS[name].title}" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", KNOWN_SETS)
def test_another_folder_is_refused(name, tmp_path):
    with pytest.raises(AnnotationError, match=f"{tmp_path}: has no .*; expected .*unpacks it"):
        read_known_set(name, tmp_path)


def test_where_a_download_is_gone_it_is_said(tmp_path):
    with pytest.raises(AnnotationError, match="its makers' download is gone"):
        read_known_set("cars", tmp_path)


def test_a_missing_list_is_named(tmp_path):
    cub(tmp_path)
    (tmp_path / "CUB_200_2011/classes.txt").unlink()
    with pytest.raises(AnnotationError, match=r"classes\.txt: cannot be read \(No such file"):
        read_known_set("cub", tmp_path)


def test_a_list_of_something_else_is_refused(tmp_path):
    cub(tmp_path)
    write(tmp_path / "CUB_200_2011/train_test_split.txt", "1 0", "2 1", "3 2")
    with pytest.raises(AnnotationError, match="its lists are not those of CUB-200-2011"):
        read_known_set("cub", tmp_path)


def test_without_scipy_it_is_said_what_is_missing(tmp_path, monkeypatch):
    flowers(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(AnnotationError, match=r"imagelabels\.mat: reading it needs SciPy: pip"):
        read_known_set("flowers", tmp_path)


def test_the_counts_are_the_papers():
    """Kobayashi, CVPR 2023, supplement, section B: classes / training / test images."""
    told = "100/6667/3333 102/3060/6084 196/8144/8041 200/5994/5794 47/3760/1880 102/2040/6149 "
    told += "101/75750/25250 37/3680/3669 397/19850/19850"
    found = [KNOWN_SETS[name].counts for name in sorted(KNOWN_SETS)]
    assert told == " ".join(f"{each.classes}/{each.train}/{each.test}" for each in found)
