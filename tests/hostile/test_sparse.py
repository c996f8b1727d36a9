"""Files that claim to be enormous and take no room on a disk, and small ones that grow."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.hostile.test_weights import BACKBONE, save_compressed
from twlcli.annotations.encoding import read_bytes
from twlcli.checking.check import check_labels
from twlcli.errors import AnnotationError, ImageError, ModelError
from twlcli.images.identity import identify
from twlcli.images.image_file import ImageFile
from twlcli.images.preprocess import load_crop
from twlcli.labels import Vocabulary
from twlcli.model.checkpoint import load_checkpoint
from twlcli.model.preprocessing import Preprocessing
from twlcli.model.spec import SPEC_KEY, ModelSpec
from twlcli.recipe import Recipe
from twlcli.runs.run_folder import Run
from twlcli.runs.states import read_state
from twlcli.xmp.embedded import read_embedded
from twlcli.xmp.packet import Packet
from twlcli.xmp.reader import Name, Property

HUGE = 40 << 30


def with_tail(path: Path, size: int = HUGE) -> Path:
    try:
        with path.open("ab") as file:
            file.truncate(size)
    except OSError:
        pytest.skip("no files with holes here")
    return path


@pytest.fixture
def picture(tmp_path) -> Path:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.bmp")
    return with_tail(tmp_path / "a.bmp")


def test_no_image_is_larger_than_the_limit(picture):
    with pytest.raises(ImageError, match="too large: 42,949,672,960 bytes"):
        load_crop(picture, None, Preprocessing(8, 8))
    assert identify(ImageFile(picture, "a.bmp"), content=True) is None
    assert not read_embedded(picture).packets


def test_a_check_does_not_read_what_is_no_image(tmp_path, picture):
    Image.new("RGB", (20, 20)).save(tmp_path / "b.bmp")
    with_tail(tmp_path / "b.bmp")  # the same bytes: read, they would be copies
    (tmp_path / "labels.csv").write_text("image,labels\na.bmp,dog\nb.bmp,cat\n")
    kinds = {finding.kind for finding in check_labels(tmp_path / "labels.csv").findings}
    assert "unreadable-images" in kinds
    assert not any("duplicates" in kind for kind in kinds), kinds


def test_label_files_are_read_at_once_only_up_to_a_size(tmp_path):
    with pytest.raises(AnnotationError, match="is larger than 2048 MiB"):
        read_bytes(with_tail(tmp_path / "photo.txt"))


def test_weights_are_not_read_before_their_shapes_fit(tmp_path):
    spec = ModelSpec(Vocabulary(("a", "b")), BACKBONE, Preprocessing(resize=32, crop=32))
    tensor = {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 4 << 30]}
    header = json.dumps({"__metadata__": {SPEC_KEY: spec.to_json()}, "a": tensor}).encode()
    header += b" " * (-len(header) % 8)
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with_tail(path, 8 + len(header) + (4 << 30))
    began = time.monotonic()
    with pytest.raises(ModelError, match="its weights do not fit"):
        load_checkpoint(path)
    assert time.monotonic() - began < 20


def test_a_compressed_state_is_damaged(tmp_path):
    save_compressed(tmp_path / "state.pt")
    with pytest.raises(ModelError, match="a compressed archive"):
        read_state(tmp_path, torch.device("cpu"))


class Counted(list[Property]):
    """A list that counts how often it is gone through."""

    times = 0

    def __iter__(self) -> Iterator[Property]:
        self.times += 1
        return super().__iter__()


def test_many_descriptions_are_removed_in_one_pass():
    subject = Name("http://purl.org/dc/elements/1.1/", "subject")
    names = (
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    )
    body = '<rdf:Description dc:subject="x"/>' * 50
    content = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {names}>{body}</rdf:RDF></x:xmpmeta>'
    packet = Packet(content.encode(), [subject])
    gone = Counted(packet._all(subject))
    assert len(list(packet._deletions(gone))) == 50
    assert gone.times == 1


@pytest.mark.parametrize("name", ["split.csv", "metrics.jsonl", "unreadable.txt"])
def test_files_of_a_run_with_holes_are_damaged(tmp_path, name):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\na.png,dog\n")
    run = Run.create(tmp_path / "run", Recipe().with_values({"data": {"path": str(table)}}))
    with_tail(run.folder / name)
    read = {"split.csv": run.data, "metrics.jsonl": run.history, "unreadable.txt": run.unreadable}
    with pytest.raises(ModelError, match="is damaged; it has 42,949,672,960 bytes"):
        read[name]()
