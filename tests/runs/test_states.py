import numpy as np
import pytest

from twlcli.annotations.annotations import Annotations
from twlcli.errors import ModelError, TwlError
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.runs.states import (
    check_identity,
    data_identity,
    has_state,
    read_state,
    remove_states,
    write_state,
)

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


def weights(value: float):
    return {"weights": torch.full((1000,), value), "step": int(value)}


def damage(path, place: float) -> None:
    """Change one byte, where `place` is a share of the file."""
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0xFF
    path.write_bytes(data)


def test_the_last_two_are_kept(tmp_path):
    assert not has_state(tmp_path)
    for step in (1, 2, 3):
        write_state(tmp_path, weights(step))
    assert has_state(tmp_path)
    assert read_state(tmp_path, CPU).values["step"] == 3
    assert read_state(tmp_path, CPU).note == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-older.pt", "state.pt"]
    (tmp_path / "state.pt").unlink()  # as when it is killed between two renames
    assert has_state(tmp_path)
    assert read_state(tmp_path, CPU).values["step"] == 2
    note = f"{tmp_path / 'state.pt'}: missing; continuing from state-older.pt, which is older"
    assert read_state(tmp_path, CPU).note == note
    remove_states(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [0.1, 0.5, 0.7, 0.99])
def test_a_damaged_one_is_found_and_the_older_used(tmp_path, place):
    write_state(tmp_path, weights(1))
    write_state(tmp_path, weights(2))
    damage(tmp_path / "state.pt", place)
    found = read_state(tmp_path, CPU)
    assert found.values["step"] == 1
    assert found.note.startswith(f"{tmp_path / 'state.pt'}: damaged (")
    assert found.note.endswith("; continuing from state-older.pt, which is older")
    damage(tmp_path / "state-older.pt", place)
    both = r"state\.pt: damaged .*state-older\.pt: damaged .*; a new run can begin with the best"
    with pytest.raises(ModelError, match=both):
        read_state(tmp_path, CPU)


@pytest.mark.parametrize("left", [0, 1, 1000])
def test_a_cut_one_is_damaged(tmp_path, left):
    write_state(tmp_path, weights(1))
    path = tmp_path / "state.pt"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ModelError, match=r"state\.pt: damaged"):
        read_state(tmp_path, CPU)


def test_nothing_saved_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"state\.pt: nothing to resume"):
        read_state(tmp_path, CPU)


def test_on_a_full_disk_both_stay(tmp_path):
    resource = pytest.importorskip("resource")
    write_state(tmp_path, weights(1))
    write_state(tmp_path, weights(2))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(TwlError, match=r"cannot be written \(File too large\)"):
            write_state(tmp_path, weights(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_state(tmp_path, CPU).values["step"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-older.pt", "state.pt"]


NAMES, LABELS, TARGETS = ("a.jpg", "b.jpg"), ("cat", "dog"), ((1, 0), (0, 1))


def annotations(folder, names=NAMES, labels=LABELS, targets=TARGETS):
    return Annotations(
        source=folder / "labels.csv",
        format="csv",
        root=folder,
        images=names,
        labels=LabelMatrix.from_dense(np.array(targets)),
        vocabulary=Vocabulary(labels),
        splits=("", ""),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("car", "dog")}, r"labels.csv: has no label 'cat' any more, a new label 'car'"),
        ({"labels": ("dog", "cat")}, "its labels in another order"),
        ({"names": ("b.jpg", "a.jpg")}, "its images, or their labels or splits"),
        ({"names": ("a.jpgb.jpg", "")}, "its images, or their labels or splits"),
        ({"targets": ((1, 0), (1, 1))}, "its images, or their labels or splits"),
    ],
)
def test_other_data_are_refused(tmp_path, change, message):
    part = annotations(tmp_path)
    saved = data_identity(part, part)
    check_identity(saved, data_identity(part, part), source=part.source)
    other = annotations(tmp_path, **change)
    for train, validation in ((other, part), (part, other)):
        if "labels" in change and train is part:
            continue  # both parts have one vocabulary
        with pytest.raises(ModelError, match=message):
            check_identity(saved, data_identity(train, validation), source=part.source)
