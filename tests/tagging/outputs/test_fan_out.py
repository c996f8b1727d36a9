import pytest

from tests.tagging.models import spec_with_labels
from tests.tagging.outputs.written import ANY
from tests.tagging.test_journal import LABELS, NOW, find, opened
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import Failure, ImageFile
from twlcli.tagging.chunks import Choice, Item, JournalLookup
from twlcli.tagging.outputs.fan_out import FanOut, JournalLog, Tally
from twlcli.tagging.outputs.output import RunFacts
from twlcli.tagging.outputs.sidecar import SidecarSink, Wrote
from twlcli.tagging.tags import Row, Scores, Tags

DOG = Tags("1.jpg", ("dog",), (0.5,))
SCORES = Scores("1.jpg", ("dog",), (0.5,))


class Notes:
    """A kind of sidecar that remembers whether it was told that the file there is twl's own."""

    kind = "note"
    merges = insists = False

    def __init__(self, settings: str = "") -> None:
        self.ours: list[bool] = []
        self.memos: list[str] = []
        self.is_ours = True
        self.settings = settings

    def path(self, file: ImageFile):
        return file.path.with_suffix(".note")

    def write(self, file: ImageFile, tags: Tags, *, ours: bool, memo: str) -> Wrote:
        self.ours.append(ours)
        self.memos.append(memo)
        if not tags.labels:
            raise ImageError("cannot be written (Permission denied)")
        self.path(file).write_text(",".join(tags.labels))
        return Wrote(changed=True, ours=self.is_ours, memo=f"number {len(self.ours)}")


class Rows(list[Row]):
    def write(self, file: ImageFile, row: Row) -> None:
        self.append(row)


@pytest.fixture
def file(tmp_path):
    return ImageFile(tmp_path / "1.jpg", "1.jpg")


@pytest.fixture
def lookup(tmp_path):
    with opened(tmp_path / "journal") as journal:
        yield JournalLookup(journal, Choice(spec_with_labels(*LABELS), None, None))


def deliver(file, writer, lookup, row=DOG, *, stored=False, rules=None):
    failures: list[Failure] = []
    rows = Rows()
    log = None if lookup is None else JournalLog(lookup.journal)
    facts = RunFacts(ANY, lambda: "digest", log=log)
    fan_out = FanOut(
        [rows, SidecarSink(writer, facts)],
        rules=rules,
        on_failure=failures.append,
        lookup=lookup,
        log=log,
        sidecars=facts.sidecars,
    )
    scores = None if isinstance(row, Failure) else Scores(row.image, row.labels, row.probabilities)
    fan_out.take(Item(file, NOW, row if stored else None), row, scores)
    fan_out.commit()
    return rows, failures, fan_out.tally(1.0)


def test_sidecars_are_written_once_for_the_same_tags(file, lookup):
    notes = Notes()
    deliver(file, notes, lookup)
    assert find(lookup.journal, "1.jpg", NOW) == SCORES
    deliver(file, notes, lookup, stored=True)
    assert notes.ours == [False]


def test_sidecars_are_written_again_where_they_are_missing(file, lookup):
    notes = Notes()
    deliver(file, notes, lookup)
    file.path.with_suffix(".note").unlink()
    deliver(file, notes, lookup, stored=True)
    assert notes.ours == [False, False]
    assert file.path.with_suffix(".note").read_text() == "dog"


def test_sidecars_are_written_again_for_other_tags_settings_and_places(file, lookup, tmp_path):
    notes = Notes()
    deliver(file, notes, lookup)
    notes.settings = "other"
    deliver(file, notes, lookup, stored=True)
    deliver(file, notes, lookup, Tags("1.jpg", ("person",), (0.5,)))
    assert notes.ours == [False, True, True]
    (tmp_path / "moved").mkdir()
    moved = ImageFile(tmp_path / "moved" / "1.jpg", "1.jpg")
    deliver(moved, notes, lookup, stored=True)
    assert notes.ours[3:] == [False]


def test_sidecars_that_somebody_edited_stay_until_the_tags_change(file, lookup):
    notes = Notes()
    deliver(file, notes, lookup)
    file.path.with_suffix(".note").write_text("dog, edited by hand")
    deliver(file, notes, lookup, stored=True)
    assert notes.ours == [False]
    deliver(file, notes, lookup, Tags("1.jpg", ("person",), (0.5,)))
    assert notes.ours == [False, False]  # not twl's own any more


def test_a_writer_that_merges_sees_what_somebody_edited_and_one_that_insists_everything(
    file, lookup
):
    notes = Notes()
    notes.merges = True
    deliver(file, notes, lookup)
    tally = deliver(file, notes, lookup, stored=True)[2]
    assert (tally.sidecars, tally.sidecars_unchanged) == (0, 1)
    file.path.with_suffix(".note").write_text("dog, edited by hand")
    tally = deliver(file, notes, lookup, stored=True)[2]
    assert (tally.sidecars, tally.sidecars_unchanged) == (1, 0)
    notes.insists = True
    deliver(file, notes, lookup, stored=True)
    assert notes.ours == [False, False, True]
    assert notes.memos == ["", "number 1", "number 2"]


def test_a_sidecar_that_is_not_twls_after_writing_is_not_taken_for_twls(file, lookup):
    notes = Notes()
    notes.is_ours = False
    deliver(file, notes, lookup)
    deliver(file, notes, lookup, stored=True)  # up to date
    deliver(file, notes, lookup, Tags("1.jpg", ("person",), (0.5,)))
    assert notes.ours == [False, False]


def test_sidecars_without_a_journal_are_always_written(file):
    notes = Notes()
    for _ in range(2):
        deliver(file, notes, None)
    assert notes.ours == [False, False]


def test_a_sidecar_that_cannot_be_written_is_a_failure_beside_the_row(file, lookup):
    notes, nothing = Notes(), Tags("1.jpg", (), ())
    for _ in range(2):  # it is tried again, the row is not computed again
        rows, failures, tally = deliver(file, notes, lookup, nothing)
        failure = Failure("1.jpg", "cannot be written (Permission denied)")
        assert rows == [nothing, failure]
        assert failures == [failure]
        assert (tally.tagged, tally.failed, tally.unwritten) == (1, 0, 1)
        assert find(lookup.journal, "1.jpg", NOW) == Scores("1.jpg", (), ())
    assert len(notes.ours) == 2


def test_a_full_disk_ends_the_run_before_the_row_is_committed(file, lookup):
    class Full(Notes):
        def write(self, file: ImageFile, tags: Tags, *, ours: bool, memo: str) -> Wrote:
            raise TwlError("1.note: cannot be written (No space left on device)")

    with pytest.raises(TwlError, match="No space left"):
        deliver(file, Full(), lookup)
    assert find(lookup.journal, "1.jpg", NOW) is None


def test_rules_change_outputs_and_not_the_journal(file, lookup):
    notes = Notes()
    animal = Tags("1.jpg", ("animal",), (0.5,))
    rows, _, _ = deliver(file, notes, lookup, rules=lambda tags: animal)
    assert rows == [animal]
    assert find(lookup.journal, "1.jpg", NOW) == SCORES
    rows, _, _ = deliver(file, notes, lookup, stored=True)  # the rules were dropped
    assert rows == [DOG] and file.path.with_suffix(".note").read_text() == "dog"


def test_failures_have_no_row_and_no_sidecar(file, lookup):
    notes, failure = Notes(), Failure("1.jpg", "the file is empty")
    rows, failures, tally = deliver(file, notes, lookup, failure)
    assert (rows, failures, notes.ours) == ([failure], [failure], [])
    assert tally == Tally(tagged=0, failed=1, seconds=1.0)
    assert find(lookup.journal, "1.jpg", NOW) == failure


def test_speed_counts_what_was_computed():
    assert Tally(tagged=90, failed=10, seconds=2.0, stored=60).images_per_second == 20
    assert Tally().images_per_second == 0
