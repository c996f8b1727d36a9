"""Finding out which column of a table holds what, by its name and by what its cells hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from twlcli.annotations.marks import MISSING, is_mark, mark_value, number_in, words_for
from twlcli.annotations.named_columns import NamedColumns, normal_name
from twlcli.annotations.split_columns import is_split
from twlcli.labels import ABSENT, PRESENT, UNKNOWN

# What a column may be called, the first name found wins; see `normal_name`.
IMAGE_COLUMNS = (
    "image",
    "filename",
    "path",
    "file",
    "imagepath",
    "imagename",
    "filepath",
    "fname",
    "imageid",
    "imageindex",
    "imagefile",
    "imagefilename",
    "img",
    "imgpath",
    "imgname",
    "imgid",
    "imgfile",
    "name",
    "id",
)
LABEL_COLUMNS = ("labels", "label", "tags")
# Names that mean the same, unless the column holds marks as of a label that is called so.
_OTHER_LABEL_COLUMNS = (
    "findinglabels",
    "labelname",
    "classes",
    "class",
    "classname",
    "categories",
    "category",
    "targets",
    "target",
    "tag",
)
# What says of each row whether its label is present.
VERDICT_COLUMNS = (
    "confidence",
    "present",
    "ispresent",
    "presence",
    "value",
    "exists",
    "positive",
    "ispositive",
    "score",
    "probability",
    "prob",
)
_NUMBERED = re.compile(r"(label|tag|class|category)\d+")
_COUNT = re.compile(r"id\Z|\A(?:idx|index|row|no|nr|number)\Z")
_UNNAMED = re.compile(r"unnamed:\d+")  # pandas, of an index
# What Label Studio writes beside the data and the answers.
LABEL_STUDIO_COLUMNS = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
)
_OWN_COLUMNS = frozenset(("probabilities", "vocabulary"))  # of a table that twl wrote


@dataclass(frozen=True)
class Columns:
    """Which column holds what, as places in the header.

    `labels` is empty in a table with one column per label, whose columns are `label_columns`.

    Attributes:
        image: the images' paths.
        split: the images' parts, as `split_name` reads them.
        labels: lists of labels, to be joined.
        unknown: lists of unknown labels.
        vocabulary: a list of all labels.
        verdict: whether the label of the row is present.
        doubtful: columns that may say the same: of 1 and 0, or called so and of numbers.
        label_columns: of a label each.
        words: values of words in `label_columns` or `verdict`, by column; see `marks.words_for`.
        group: what the images belong to.
        by_annotators: whether rows of one image are what several people say, as in Label Studio.
        notes: what was decided that the user may want to know.
        written_by_twl: whether the table's cells are as `write_table` or `twl tag` writes them.
    """

    image: int
    split: int | None = None
    labels: tuple[int, ...] = ()
    unknown: int | None = None
    vocabulary: int | None = None
    verdict: int | None = None
    doubtful: tuple[int, ...] = ()
    label_columns: tuple[int, ...] = ()
    words: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    group: int | None = None
    by_annotators: bool = False
    notes: tuple[str, ...] = ()
    written_by_twl: bool = False


def image_column(header: Sequence[str]) -> int | None:
    """The place of the images' paths."""
    return _place([normal_name(name) for name in header], IMAGE_COLUMNS)


def find_columns(
    header: Sequence[str], image: int, sample: Sequence[Sequence[str]], named: NamedColumns
) -> Columns:
    """Which column holds what; neither lists nor columns of labels where none looks like labels.

    Args:
        header: the columns' names.
        image: the place of the images' paths.
        sample: some rows.
        named: the columns that are known.
    """
    by_annotators = {"annotation_id", "lead_time"} <= set(header)
    hidden = _hidden(header, image, named, by_annotators=by_annotators)
    header = ["" if place in hidden else name for place, name in enumerate(header)]
    names = [normal_name(name) for name in header]
    cells = [_cells(sample, place) for place in range(len(header))]
    splits = [place for place in range(len(header)) if is_split(names[place], cells[place])]
    split = named.split
    if split is None:
        split = min(splits, key=lambda place: names[place] != "split", default=None)
    taken = {image, split, *splits}
    found = Columns(
        image=image,
        split=split,
        group=named.group,
        words=_words(sample, cells),
        by_annotators=by_annotators,
    )
    if named.label_columns:
        not_labels = (image, split, named.group)  # a pattern may be like their names too
        places = tuple(place for place in named.label_columns if place not in not_labels)
        return replace(found, label_columns=places)
    labels, note = _label_lists(names, cells, taken)
    answers = [place for place, name in enumerate(header) if name and place not in taken]
    if by_annotators and not labels and len(answers) == 1:
        labels = (answers[0],)
    if named.labels is not None:
        labels = (named.labels,)
    if labels:
        return _of_lists(replace(found, labels=labels), header, cells)
    every = [place for place, name in enumerate(header) if name and place not in (image, split)]
    marked = [
        place
        for place in every
        if place not in splits
        and not _UNNAMED.fullmatch(names[place])
        and (place in found.words or _holds_marks(cells[place]))
    ]
    notes = [note] if note else []
    chosen = set(marked)
    if others := [header[place] for place in every if place not in chosen]:
        notes.append(f"columns left out because they are no label's: {few(others)}")
    return replace(found, label_columns=tuple(marked), notes=tuple(notes))


def _hidden(
    header: Sequence[str], image: int, named: NamedColumns, *, by_annotators: bool
) -> set[int | None]:
    """The columns that hold no labels, whatever is in them."""
    hidden = {*named.ignored, named.group, named.labels}
    if by_annotators:
        own = {place for place, name in enumerate(header) if name in LABEL_STUDIO_COLUMNS}
        hidden |= own - {image, named.split, *named.label_columns}
    return hidden


def _cells(sample: Sequence[Sequence[str]], place: int) -> list[str]:
    """The cells of a column that are not empty."""
    cells = (row[place].strip() for row in sample)
    return [cell for cell in cells if cell and cell not in MISSING]


def _words(
    sample: Sequence[Sequence[str]], cells: Sequence[Sequence[str]]
) -> dict[int, dict[str, int]]:
    """The columns that hold words for present and absent, with what each means."""
    textual = {
        place: column for place, column in enumerate(cells) if column and not is_mark(column[0])
    }
    found = {
        place: words_for(column, with_empty=len(column) < len(sample))
        for place, column in textual.items()
    }
    pairs = [words for words in found.values() if words]
    for place, column in textual.items():  # one word throughout, beside columns with both
        alone = {cell.casefold() for cell in column}
        found[place] = next((words for words in pairs if alone <= words.keys()), {})
    return {place: words for place, words in found.items() if words}


def _of_lists(found: Columns, header: Sequence[str], cells: Sequence[Sequence[str]]) -> Columns:
    names = [normal_name(name) for name in header]
    unknown, vocabulary = _place(names, ("unknown",)), _place(names, ("vocabulary",))
    by_twl = not _OWN_COLUMNS.isdisjoint(names)
    free = [
        "" if place in (found.image, found.split, *found.labels) else name
        for place, name in enumerate(names)
    ]
    called_so = None if by_twl else _place(free, VERDICT_COLUMNS)
    verdict = called_so
    if verdict is not None and not _may_be_verdict(cells[verdict], found.words.get(verdict)):
        verdict = None
    read = {found.image, found.split, *found.labels, unknown, vocabulary, verdict}
    ignored = [
        place
        for place, name in enumerate(header)
        if place not in read and name and names[place] not in _OWN_COLUMNS
    ]
    unread = few([header[place] for place in ignored])
    doubtful = [
        place
        for place in ignored
        if _may_be_doubtful(names[place], cells[place], found.words.get(place))
        or (place == called_so and None not in map(number_in, cells[place]))
    ]
    return replace(
        found,
        unknown=unknown,
        vocabulary=vocabulary,
        verdict=verdict,
        doubtful=() if by_twl or verdict is not None else tuple(doubtful),
        notes=(f"columns that were not read: {unread}",) if ignored else (),
        written_by_twl=by_twl,
    )


def _may_be_doubtful(name: str, cells: Sequence[str], words: Mapping[str, int] | None) -> bool:
    """Whether a column of marks alone, with both among them, is called as no count of rows is."""
    values = {mark_value(cell, words) for cell in cells}
    return {PRESENT, ABSENT} <= values <= {PRESENT, ABSENT, UNKNOWN} and not _COUNT.search(name)


def _may_be_verdict(cells: Sequence[str], words: Mapping[str, int] | None) -> bool:
    """Whether cells say that labels are present or absent, if only in fractions."""
    numbers = [number_in(cell) for cell in cells]
    return bool(words) or all(
        is_mark(cell) or (number is not None and -1 <= number <= 1)
        for cell, number in zip(cells, numbers, strict=True)
    )


def _label_lists(
    names: Sequence[str], cells: Sequence[Sequence[str]], taken: set[int | None]
) -> tuple[tuple[int, ...], str]:
    """The columns of lists of labels, and a note where one so called is a label itself."""

    def only_marks(place: int) -> bool:
        return all(map(is_mark, cells[place]))

    numbered = [
        place
        for place, name in enumerate(names)
        if _NUMBERED.fullmatch(name) and place not in taken
    ]
    if not any(_holds_text(cells[place]) for place in numbered):  # of a label each
        numbered = []
    first = _place(names, LABEL_COLUMNS)
    if first is not None:
        not_labels = taken | {first, _place(names, VERDICT_COLUMNS)}
        beside = [
            place
            for place, name in enumerate(names)
            if name and place not in not_labels and not _UNNAMED.fullmatch(name) and cells[place]
        ]
        is_one = names[first] != LABEL_COLUMNS[0] and cells[first] and only_marks(first)
        if is_one and any(map(only_marks, beside)):
            return (
                (),
                f"'{names[first]}' was read as the name of a label: it holds 1, 0 and -1 only",
            )
        stem = names[first].removesuffix("s")
        return (first, *(place for place in numbered if names[place].startswith(stem))), ""
    others = [name for place, name in enumerate(names) if place not in taken]
    other = next((name for name in _OTHER_LABEL_COLUMNS if name in others), None)
    if other is not None and not only_marks(names.index(other)):
        return (names.index(other),), ""
    return tuple(numbered), ""


def _holds_marks(cells: Sequence[str]) -> bool:
    """Whether cells are those of a label's column: a few others, or one alone, are mistakes."""
    return not _holds_text(cells) or sum(not is_mark(cell) for cell in cells) < 2


def _holds_text(cells: Sequence[str]) -> bool:
    """Whether most cells are not those of a label's column."""
    return 2 * sum(map(is_mark, cells)) < len(cells)


def few(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _place(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)
