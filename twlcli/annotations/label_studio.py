"""What Label Studio exports: its JSON, and its shorter JSON-MIN."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import IMAGE_COLUMNS, LABEL_STUDIO_COLUMNS, few
from twlcli.annotations.joined import NOTE_OF_DISPUTES
from twlcli.annotations.json_list import objects_in
from twlcli.annotations.located import located
from twlcli.annotations.named_columns import normal_name
from twlcli.annotations.names import Names
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.errors import AnnotationError, did_you_mean
from twlcli.images.image_file import is_image

Task = Mapping[str, Any]

_UPLOAD = re.compile(r"/?data/upload/(?:\d+/)?(.+)", re.DOTALL)
_LOCAL = re.compile(r"/?data/local-files/?\?d=(.+)", re.DOTALL)
_PREFIX = re.compile(r"[0-9a-f]{8}-")  # of the name of a file that was uploaded


def is_label_studio(first: object) -> bool:
    """Whether the first object of a list is one of Label Studio's.

    Example:
        >>> is_label_studio({"image": "a.jpg", "choice": {"choices": ["cat"]}})
        True
    """
    if not isinstance(first, dict):
        return False
    if isinstance(first.get("data"), dict):
        return isinstance(first.get("annotations"), list)
    return {"annotation_id", "lead_time"} <= first.keys() or any(map(_is_answer, first.values()))


def read_label_studio(path: Path, options: ReadOptions = DEFAULTS) -> Annotations:
    """Read tasks with their annotations.

    The labels of an image are the choices, and the classes of boxes and other shapes, that its
    annotation names. Cancelled annotations are none, and images without any are left out. Where
    several people annotated an image, a label that some of them named and others did not is
    unknown.

    An image that was uploaded is called `/data/upload/1/0a1b2c3d-cat.jpg`. Where no file of that
    name is there, `0a1b2c3d-cat.jpg` and `cat.jpg` are looked for, beside the file or in `images`,
    and in folders below; if nothing is found the path stays as it is written.

    Args:
        path: the file.
        options: of these, `image_column` is the key of the images in a task's data, and
            `labels_column` the name of one of several questions.

    Raises:
        AnnotationError: with the number of the task that is wrong, counted from 1.
    """
    root = path.parent if options.images is None else Path(options.images)
    builder = AnnotationBuilder(path, format_name="label-studio", root=root)
    answers: dict[str, _Answers] = {}
    tasks = objects_in(path)
    whole = any(isinstance(task.get("data"), dict) for task in tasks)
    keys = () if whole else _keys(path, tasks, options)
    questions = _Questions(options.labels_column)
    for number, task in enumerate(tasks, start=1):
        try:
            data = task["data"] if whole else task
            image = _image(data, options.image_column)
            known = answers.setdefault(image, _Answers(_uploaded(task, image)))
            known.labels += questions.annotated(task) if whole else questions.answered(task, keys)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            wrong = error if type(error) is ValueError else "is not as Label Studio writes it"
            raise AnnotationError(f"{path}: task {number}: {wrong}") from error
    questions.check(path)
    if questions.others:
        builder.note(f"results that name no labels were not read: {few(sorted(questions.others))}")
    for image, known in answers.items():
        known.add_to(builder, image)
    if without := sum(not known.labels for known in answers.values()):
        builder.note(f"images left out because they have no annotation: {without:,}")
    uploads = {image: known.uploaded for image, known in answers.items() if known.uploaded}
    return _found(builder.finish(), uploads)


@dataclass
class _Answers:
    """What is known of an image: the file that was uploaded, and the labels of each annotation."""

    uploaded: str | None
    labels: list[frozenset[str]] = field(default_factory=list)

    def add_to(self, builder: AnnotationBuilder, image: str) -> None:
        if not self.labels:
            return
        agreed = frozenset.intersection(*self.labels)
        disputed = frozenset.union(*self.labels) - agreed
        if disputed:
            builder.note(NOTE_OF_DISPUTES)
        present, unknown = (builder.columns(sorted(each)) for each in (agreed, disputed))
        builder.add(image, present, unknown)


def _image(data: Task, key: str | None) -> str:
    """The image's path in a task's data."""
    if key is None:
        keys = {normal_name(each): each for each in reversed(list(data))}
        key = next((keys[name] for name in IMAGE_COLUMNS if name in keys and name != "id"), None)
    if key is None or key not in data:
        there = few([f"'{each}'" for each in data if each not in LABEL_STUDIO_COLUMNS])
        raise ValueError(f"there is no key '{key or 'image'}' (keys: {there})")
    image = data[key]
    if not isinstance(image, str):
        raise ValueError(f"'{key}' is no path of an image")
    local = _LOCAL.fullmatch(image)
    return unquote(local[1]) if local else image


def _uploaded(task: Task, image: str) -> str | None:
    """The name of the file as it was stored when it was uploaded; of no file with tasks."""
    upload = _UPLOAD.fullmatch(image)
    if upload:
        return unquote(upload[1])
    stored = task.get("file_upload")
    return stored if isinstance(stored, str) and is_image(stored) else None


class _Questions:
    """The questions that were asked, and the labels that each has for answers."""

    def __init__(self, only: str | None) -> None:
        """Begin with none; `only` is the one whose answers are read."""
        self._only = only
        self._asked: dict[str, set[str]] = {}
        self.others: set[str] = set()  # kinds of results that name no labels

    def annotated(self, task: Task) -> Iterator[frozenset[str]]:
        """The labels of each annotation of a task in the long form."""
        for annotation in task["annotations"]:
            if not annotation.get("was_cancelled"):
                yield frozenset(self._labels(annotation["result"]))

    def _labels(self, results: Iterable[Task]) -> Iterator[str]:
        for result in results:
            kind, question = result.get("type"), result.get("from_name")
            labels = _named(result.get("value", {}).get(kind))
            if labels is None:
                self.others.add(str(kind))
            else:
                is_choice = kind in ("choices", "taxonomy")
                yield from self._answers(str(question), labels, may_share=not is_choice)

    def answered(self, task: Task, keys: Iterable[str]) -> Iterator[frozenset[str]]:
        """The labels of a task of JSON-MIN, which is one annotation; a single choice is a text."""
        labels = set[str]()
        for key in keys:
            if (answer := task.get(key)) is not None:
                texts = [answer] if isinstance(answer, str) else answer["choices"]
                if not all(isinstance(label, str) for label in texts):
                    raise ValueError("a choice is no text")
                labels.update(self._answers(key, texts))
        yield frozenset(labels)

    def _answers(
        self, question: str, labels: Sequence[str], *, may_share: bool = False
    ) -> Sequence[str]:
        self._asked.setdefault(question, set()).update(() if may_share else labels)
        return labels if self._only in (None, question) else ()

    def check(self, path: Path) -> None:
        """Raise AnnotationError where it is not clear which question a label answers."""
        asked = sorted(self._asked)
        if self._only is not None:
            if asked and self._only not in asked:
                message = f"no question is called '{self._only}'; the questions are: {few(asked)}"
                raise AnnotationError(f"{path}: {message}{did_you_mean(self._only, asked)}")
            return
        for first, second in combinations(asked, 2):
            if shared := sorted(self._asked[first] & self._asked[second]):
                message = (
                    f"the questions '{first}' and '{second}' both have the answer '{shared[0]}'"
                )
                raise AnnotationError(
                    f"{path}: {message}", hint="{labels_column} names one of them"
                )


def _named(value: object) -> list[str] | None:
    """The labels in the value of a result; None where it holds none.

    A place in a taxonomy is called by all its levels, and those above come with it.

    Example:
        >>> _named(["dog"]), _named([["animal", "dog"]]), _named(4)
        (['dog'], ['animal', 'animal|dog'], None)
    """
    if not isinstance(value, list):
        return None
    if all(isinstance(label, str) for label in value):
        return value
    if not all(isinstance(path, list) and all(isinstance(p, str) for p in path) for path in value):
        return None
    levels = ("|".join(path[:depth]) for path in value for depth in range(1, len(path) + 1))
    return list(dict.fromkeys(levels))


def _is_answer(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("choices"), list)


def _keys(path: Path, tasks: Sequence[Task], options: ReadOptions) -> tuple[str, ...]:
    """The keys of JSON-MIN that hold answers: those with several choices, or the only text."""
    if options.labels_column is not None and any(options.labels_column in task for task in tasks):
        return (options.labels_column,)
    answers, texts = dict[str, None](), dict[str, None]()
    for task in tasks:
        for key, value in task.items():
            if _is_answer(value):
                answers[key] = None
            elif isinstance(value, str) and normal_name(key) not in IMAGE_COLUMNS:
                texts[key] = None
    texts = {key: None for key in texts if key not in LABEL_STUDIO_COLUMNS | {options.image_column}}
    found = tuple(answers or texts)
    if options.labels_column is not None:
        message = f"no question is called '{options.labels_column}'; the keys are: {few(found)}"
        raise AnnotationError(f"{path}: {message}{did_you_mean(options.labels_column, found)}")
    if not answers and len(found) != 1:
        raise AnnotationError(
            f"{path}: which key holds the choices? (keys: {few(found) or 'none'})",
            hint="name it with {labels_column}",
        )
    return found


def with_uploads(annotations: Annotations) -> Annotations:
    """A table of Label Studio's, with its images' names as they are there: see `_found`."""
    if not Names.of(annotations.images).may_hold("data/upload/"):
        return annotations
    uploads = {
        image: unquote(upload[1])
        for image in annotations.images
        if (upload := _UPLOAD.fullmatch(image))
    }
    return _found(annotations, uploads) if uploads else annotations


def _found(annotations: Annotations, uploads: Mapping[str, str]) -> Annotations:
    """With the names under which images are there that were uploaded under others."""
    written = annotations.images
    stored = [uploads.get(image, image) for image in written]
    bare = [_PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name for name in stored]
    root = annotations.root
    images = tuple(
        next((each for each in names if os.path.isfile(root / each)), names[0])  # noqa: PTH113
        for names in zip(written, stored, bare, strict=True)
    )
    if images != written and len(set(images)) == len(images):
        return replace(annotations, images=images)
    for names in (stored, bare):
        if len(set(names)) == len(names):
            tried = replace(annotations, images=tuple(names))
            if (there := located(tried)) is not tried:
                return there
    return annotations
