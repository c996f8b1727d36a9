import pytest

from tests.tagging.test_journal import NOW, find, opened
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.chunks import Item, Memory
from twlcli.tagging.outputs.fan_out import Beside, Delivery, Outputs, Tally
from twlcli.tagging.tags import Failure, Tags

DOG = Tags("1.jpg", ("dog",), (0.5,))


class Notes:
    """A kind of sidecar that remembers whether it was told that the file there is twl's own."""

    def __init__(self) -> None:
        self.ours: list[bool] = []

    def write(self, file: ImageFile, tags: Tags, ours: bool) -> None:
        self.ours.append(ours)
        if not tags.labels:
            raise ImageError("cannot be written (Permission denied)")
        file.path.with_suffix(".note").write_text(",".join(tags.labels))

    def beside(self, kind: str = "note", settings: str = "") -> Beside:
        return Beside(kind, settings, lambda file: file.path.with_suffix(".note"), self.write)


@pytest.fixture
def file(tmp_path):
    return ImageFile(tmp_path / "1.jpg", "1.jpg")


@pytest.fixture
def memory(tmp_path):
    with opened(tmp_path / "journal") as journal:
        yield Memory(journal)


def deliver(file, beside, memory, row=DOG, *, stored=False, policy=None):
    failures: list[Failure] = []
    rows: list[Tags] = []
    outputs = Outputs(
        [lambda file, tags: rows.append(tags)], failures.append, [beside], policy=policy
    )
    delivery = Delivery(outputs, memory)
    delivery.take(Item(file, NOW, row if stored else None), row)
    delivery.commit()
    return rows, failures, delivery.tally(1.0)


def test_sidecars_are_written_once_for_the_same_tags(file, memory):
    notes = Notes()
    deliver(file, notes.beside(), memory)
    assert find(memory.journal, "1.jpg", NOW) == DOG
    deliver(file, notes.beside(), memory, stored=True)
    assert notes.ours == [False]


def test_sidecars_are_written_again_where_they_are_missing(file, memory):
    notes = Notes()
    deliver(file, notes.beside(), memory)
    file.path.with_suffix(".note").unlink()
    deliver(file, notes.beside(), memory, stored=True)
    assert notes.ours == [False, False]
    assert file.path.with_suffix(".note").read_text() == "dog"


def test_sidecars_are_written_again_for_other_tags_settings_and_places(file, memory, tmp_path):
    notes = Notes()
    deliver(file, notes.beside(), memory)
    deliver(file, notes.beside(settings="other"), memory, stored=True)
    deliver(file, notes.beside(settings="other"), memory, Tags("1.jpg", ("person",), (0.5,)))
    assert notes.ours == [False, True, True]
    (tmp_path / "moved").mkdir()
    moved = ImageFile(tmp_path / "moved" / "1.jpg", "1.jpg")
    deliver(moved, notes.beside(settings="other"), memory, stored=True)
    assert notes.ours[3:] == [False]


def test_sidecars_that_somebody_edited_stay_until_the_tags_change(file, memory):
    notes = Notes()
    deliver(file, notes.beside(), memory)
    file.path.with_suffix(".note").write_text("dog, edited by hand")
    deliver(file, notes.beside(), memory, stored=True)
    assert notes.ours == [False]
    deliver(file, notes.beside(), memory, Tags("1.jpg", ("person",), (0.5,)))
    assert notes.ours == [False, False]  # not twl's own any more


def test_sidecars_without_a_journal_are_always_written(file):
    notes = Notes()
    for _ in range(2):
        deliver(file, notes.beside(), None)
    assert notes.ours == [False, False]


def test_a_sidecar_that_cannot_be_written_is_a_failure_beside_the_row(file, memory):
    notes, nothing = Notes(), Tags("1.jpg", (), ())
    for _ in range(2):  # it is tried again, the row is not computed again
        rows, failures, tally = deliver(file, notes.beside(), memory, nothing)
        assert rows == [nothing]
        assert failures == [Failure("1.jpg", "cannot be written (Permission denied)")]
        assert (tally.tagged, tally.failed, tally.unwritten) == (1, 0, 1)
        assert find(memory.journal, "1.jpg", NOW) == nothing
    assert len(notes.ours) == 2


def test_a_full_disk_ends_the_run_before_the_row_is_committed(file, memory):
    def write(file: ImageFile, tags: Tags, ours: bool) -> None:
        raise TwlError("1.note: cannot be written (No space left on device)")

    with pytest.raises(TwlError, match="No space left"):
        deliver(file, Beside("note", "", lambda file: file.path, write), memory)
    assert find(memory.journal, "1.jpg", NOW) is None


def test_policy_changes_outputs_and_not_the_journal(file, memory):
    notes = Notes()
    animal = Tags("1.jpg", ("animal",), (0.5,))
    rows, _, _ = deliver(file, notes.beside(), memory, policy=lambda tags: animal)
    assert rows == [animal]
    assert find(memory.journal, "1.jpg", NOW) == DOG
    rows, _, _ = deliver(file, notes.beside(), memory, stored=True)  # the policy was dropped
    assert rows == [DOG] and file.path.with_suffix(".note").read_text() == "dog"


def test_failures_have_no_row_and_no_sidecar(file, memory):
    notes, failure = Notes(), Failure("1.jpg", "the file is empty")
    rows, failures, tally = deliver(file, notes.beside(), memory, failure)
    assert (rows, failures, notes.ours) == ([], [failure], [])
    assert tally == Tally(tagged=0, failed=1, seconds=1.0)
    assert find(memory.journal, "1.jpg", NOW) == failure


def test_speed_counts_what_was_computed():
    assert Tally(tagged=90, failed=10, seconds=2.0, stored=60).images_per_second == 20
    assert Tally().images_per_second == 0
