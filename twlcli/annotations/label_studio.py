"""What Label Studio exports: its JSON, and its shorter JSON-MIN."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.columns import IMAGE_COLUMNS, few, normal_name
from twlcli.annotations.json_list import objects_in
from twlcli.annotations.located import located
from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.errors import AnnotationError

Task = Mapping[str, Any]

# What JSON-MIN writes beside the data and the answers.
_OWN_KEYS = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
)
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
    questions = () if whole else _questions(path, tasks, options)
    for number, task in enumerate(tasks, start=1):
        try:
            data = task["data"] if whole else task
            image = _image(data, options.image_column)
            known = answers.setdefault(image, _Answers(_uploaded(task, image)))
            known.labels += _annotated(task, options) if whole else _answered(task, questions)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            wrong = error if type(error) is ValueError else "is not as Label Studio writes it"
            raise AnnotationError(f"{path}: task {number}: {wrong}") from error
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
            builder.note("labels that not all annotators of an image named were read as unknown")
        present, unknown = (builder.columns(sorted(each)) for each in (agreed, disputed))
        builder.add(image, present, unknown)


def _image(data: Task, key: str | None) -> str:
    """The image's path in a task's data."""
    if key is None:
        keys = {normal_name(each): each for each in reversed(list(data))}
        key = next((keys[name] for name in IMAGE_COLUMNS if name in keys and name != "id"), None)
    if key is None or key not in data:
        there = few([f"'{each}'" for each in data if each not in _OWN_KEYS])
        raise ValueError(f"there is no key '{key or 'image'}' (keys: {there})")
    image = data[key]
    if not isinstance(image, str):
        raise ValueError(f"'{key}' is no path of an image")
    local = _LOCAL.fullmatch(image)
    return unquote(local[1]) if local else image


def _uploaded(task: Task, image: str) -> str | None:
    """The name of the file as it was stored when it was uploaded."""
    upload = _UPLOAD.fullmatch(image)
    if upload:
        return unquote(upload[1])
    stored = task.get("file_upload")
    return stored if isinstance(stored, str) and stored else None


def _annotated(task: Task, options: ReadOptions) -> Iterator[frozenset[str]]:
    """The labels of each annotation of a task in the long form."""
    for annotation in task["annotations"]:
        if not annotation.get("was_cancelled"):
            yield frozenset(_labels(annotation["result"], options.labels_column))


def _labels(results: Iterable[Task], question: str | None) -> Iterator[str]:
    for result in results:
        labels = result.get("value", {}).get(result.get("type"))
        if question not in (None, result.get("from_name")):
            continue
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            yield from labels


def _is_answer(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("choices"), list)


def _questions(path: Path, tasks: Iterable[Task], options: ReadOptions) -> tuple[str, ...]:
    """The keys of JSON-MIN that hold answers: those with several choices, or the only text."""
    if options.labels_column is not None:
        return (options.labels_column,)
    answers, texts = dict[str, None](), dict[str, None]()
    for task in tasks:
        for key, value in task.items():
            if _is_answer(value):
                answers[key] = None
            elif isinstance(value, str) and normal_name(key) not in IMAGE_COLUMNS:
                texts[key] = None
    texts = {key: None for key in texts if key not in _OWN_KEYS | {options.image_column}}
    found = tuple(answers or texts)
    if not answers and len(found) != 1:
        raise AnnotationError(
            f"{path}: which key holds the choices? (keys: {few(found) or 'none'})",
            hint="name it with {labels_column}",
        )
    return found


def _answered(task: Task, questions: Iterable[str]) -> Iterator[frozenset[str]]:
    """The labels of a task of JSON-MIN, which is one annotation; a single choice is a text."""
    answers = [task[key] for key in questions if task.get(key) is not None]
    labels = set[str]()
    for answer in answers:
        labels |= {answer} if isinstance(answer, str) else set(answer["choices"])
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("a choice is no text")
    yield frozenset(labels)


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
