"""The keywords that photo programs wrote into and beside photographs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import SPLIT_NAMES, AnnotationBuilder
from twlcli.annotations.folders import has_class_folders, walk
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.errors import AnnotationError, ImageError
from twlcli.images.image_file import IMAGE_SUFFIXES, is_image, is_passed_over, suffix_of
from twlcli.images.kinds import KIND_OF_SUFFIX, RAW, summaries
from twlcli.labels import is_text, some_of
from twlcli.xmp.keywords import TagPath, key, path_key
from twlcli.xmp.place import Place, inside, sidecar
from twlcli.xmp.users import ancestry, parted

MIN_IMAGES = 20  # that a label has where nothing else is said: fewer teach little

_SAMPLE = 200  # photographs that show whether a folder is one of keywords
_PHOTOGRAPHS = IMAGE_SUFFIXES.union(KIND_OF_SUFFIX)  # also of what nothing here can read


def read_keywords(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read the keywords of the photographs at or below a folder.

    They stand in `a.jpg.xmp`, in `a.xmp` or inside `a.jpg`, as XMP, IPTC or the XPKeywords of
    Windows. The first of these places that has any is what photo programs show, and alone counts.
    Keywords with levels become labels such as `animal|dog`, and `animal` comes with them; a word
    that is also a level of such a keyword is no second label. Spellings that differ in letter case,
    Unicode form or blanks are one label, named by the most frequent. What twl added is not read,
    unless `own_keywords` says so. A photograph without keywords is left out, as it is not known to
    be without labels.

    Where every topmost folder is named after a split (`train`, `val`, …), it is the image's split.

    Raises:
        AnnotationError: no photograph has keywords, or a folder cannot be read.
    """
    reading = _Reading(path, options)
    found = [
        (photograph.image, paths)
        for photograph in _photographs(path, reading.passed_over)
        if (paths := reading.keywords(photograph))
    ]
    if not found:
        reasons = "".join(f"; {note}" for note in reading.notes())
        raise AnnotationError(f"{path}: no photograph has keywords{reasons}")
    builder = AnnotationBuilder(path, format_name="keywords", root=path)
    tops = {_top(image) for image, _ in found}
    has_splits = tops <= SPLIT_NAMES.keys()
    names = _label_names(Counter(each for _, paths in found for each in paths))
    for image, paths in found:
        columns = builder.columns(name for each in paths for name in names[each])
        builder.add(image, columns, split=_top(image) if has_splits else "")
    for note in (
        *reading.notes(),
        *_notes_of_words(name for each in names.values() for name in each),
    ):
        builder.note(note)
    folders = [image.rpartition("/")[0] + "/" for image, _ in found if "/" in image]
    if options.format is None and has_class_folders(folders):
        builder.note(
            "folders were not read as classes, as the photographs in them have keywords; the "
            "format 'folders' reads them so"
        )
    return builder.finish()


def keyworded(path: Path, options: ReadOptions = DEFAULTS) -> float:
    """The share of photographs with keywords, among 200 that are evenly spread over a folder."""
    photographs = list(_photographs(path, Counter()))
    count = min(len(photographs), _SAMPLE)
    reading = _Reading(path, options)
    sample = (photographs[place * len(photographs) // count] for place in range(count))
    return sum(bool(reading.keywords(each)) for each in sample) / max(count, 1)


@dataclass(frozen=True)
class _Photograph:
    """An image, and its sidecars: what is inside is hidden by those before, and hides the others.

    All are paths relative to the folder that is read.
    """

    image: str
    before: tuple[str, ...]
    behind: tuple[str, ...]


def _photographs(root: Path, passed_over: Counter[str]) -> Iterator[_Photograph]:
    """The photographs that can be read here; others are counted in `passed_over`, by suffix."""
    for folder, names in walk(root):
        passed_over.update(map(suffix_of, filter(is_passed_over, names)))
        sidecars = {name.lower(): name for name in names if suffix_of(name) == ".xmp"}
        namesakes = defaultdict[str, list[str]](list)
        for name in names if sidecars else ():
            if suffix_of(name) in _PHOTOGRAPHS:
                namesakes[_stem(name)].append(suffix_of(name))
        for name in filter(is_image, names):
            full = sidecars.get(f"{name.lower()}.xmp")
            stem = sidecars.get(f"{_stem(name)}.xmp")
            is_own = stem is not None and _owns_stem(name, namesakes[_stem(name)])
            before, behind = ((full, stem), (None,)) if is_own else ((full,), (stem,))
            yield _Photograph(
                f"{folder}{name}",
                tuple(f"{folder}{each}" for each in before if each),
                tuple(f"{folder}{each}" for each in behind if each),
            )


def _stem(name: str) -> str:
    return name[: name.rindex(".")].lower()


def _owns_stem(name: str, namesakes: Sequence[str]) -> bool:
    """Whether `a.xmp` is this image's own: of those that share the stem, it is the raw one's."""
    raw = [suffix for suffix in namesakes if suffix in RAW.suffixes]
    return len(namesakes) == 1 or raw == [suffix_of(name)]


def _top(image: str) -> str:
    """The topmost folder that an image lies in, in lower case; empty where it lies in none."""
    return image.partition("/")[0].casefold() if "/" in image else ""


class _Reading:
    """Reads photographs one by one, and counts what came to nothing."""

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self._root = root
        self._people, self._takes_own = bool(options.people), bool(options.own_keywords)
        self._without = self._own_alone = self._unusual = 0
        self._faults: dict[str, str] = {}
        self.passed_over = Counter[str]()

    def keywords(self, photograph: _Photograph) -> list[TagPath]:
        """The keywords of a photograph; none is empty."""
        place, faults = inside(self._root / photograph.image)
        if faults:
            self._faults.setdefault(photograph.image, faults[0])
        places = [
            *map(self._sidecar, photograph.before),
            place,
            *map(self._sidecar, photograph.behind),
        ]
        found = parted(places, people=self._people)
        self._unusual += found.left_out
        taken = (*found.users, *found.own) if self._takes_own else found.users
        paths = [path for path in taken if all(map(is_text, path))]
        if not paths:
            self._without += not found.own
            self._own_alone += bool(found.own)
        return paths

    def _sidecar(self, name: str) -> Place:
        try:
            return sidecar(self._root / name)
        except ImageError as error:
            self._faults.setdefault(name, str(error))
            return Place.empty()

    def notes(self) -> Iterator[str]:
        """What was left out, one sentence each."""
        if self._without:
            yield f"photographs left out because they have no keywords: {self._without:,}"
        if self._own_alone:
            yield f"photographs left out because twl added all their keywords: {self._own_alone:,}"
        if self._faults:
            name, reason = next(iter(self._faults.items()))
            yield (
                f"files whose keywords could not be read, or not all: {len(self._faults):,}, such "
                f"as {name} ({reason})"
            )
        if self._unusual:
            yield f"entries left out because no person writes so much: {self._unusual:,}"
        yield from summaries(self.passed_over)


def _notes_of_words(labels: Iterable[str]) -> Iterator[str]:
    """What to say of words that stand alone in some photographs and below others elsewhere."""
    below: dict[str, str] = {}
    alone: dict[str, None] = {}
    for label in labels:
        if "|" in label:
            below.setdefault(key(label.rpartition("|")[2]), label)
        else:
            alone[label] = None
    both = [f"{label} ({below[key(label)]})" for label in sorted(alone) if key(label) in below]
    if both:
        yield (
            "words that are labels of their own, and in other photographs the last level of one: "
            f"{some_of(both)}"
        )


def _label_names(counts: Counter[TagPath]) -> dict[TagPath, list[str]]:
    """The labels of each keyword as it is spelled: its own, and those that it implies.

    Each level is spelled as most photographs spell it.

    >>> _label_names(Counter({("Dog",): 1, ("dog",): 2, ("animal", "cat"): 1}))
    {('Dog',): ['dog'], ('dog',): ['dog'], ('animal', 'cat'): ['animal', 'animal|cat']}
    """
    spellings = defaultdict[TagPath, Counter[str]](Counter)
    for path, count in counts.items():
        for above in ancestry(path):
            spellings[path_key(above)][above[-1]] += count
    # Of spellings that are as frequent, the first in order, so that files may come in any.
    usual = {
        their: min(found, key=lambda each: (-found[each], each))
        for their, found in spellings.items()
    }

    def name(path: TagPath) -> str:
        return "|".join(usual[above] for above in ancestry(path_key(path)))

    return {path: [name(above) for above in ancestry(path)] for path in counts}
