"""A run folder: what is in it, and the data that it was trained on.

recipe.toml         the resolved recipe
split.csv           image,split: only where twl held images out for validation
model.safetensors   best weights so far, with the model's spec
state.pt            everything that resuming needs
metrics.jsonl       one object per epoch
curves.svg          training loss and scores by epoch, as an image
report.html         the same and the scores of each label, as a page to follow the training in
cross_validated.npz of a frozen backbone: what heads say of training images that they did not see
unreadable.txt      training images that could not be decoded, with the reason
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

import numpy as np

from twlcli.annotations.annotations import Annotations, split_called
from twlcli.annotations.builder import normal_split, normal_splits
from twlcli.annotations.categories import Categories
from twlcli.annotations.csv_cells import image_of_cell, rows_of_images, text_of_cell
from twlcli.annotations.detect import read_with
from twlcli.annotations.encoding import readable
from twlcli.annotations.groups import with_note_of_parted_groups
from twlcli.annotations.read_options import WHAT, ReadOptions
from twlcli.annotations.split import hold_out_images
from twlcli.errors import AnnotationError, ModelError, RecipeError, TwlError, check_extra
from twlcli.io import parse_json, write_errors, write_whole
from twlcli.model.backbone_names import are_named, check_backbone
from twlcli.model.user_code import load_backbone, load_loss
from twlcli.recipe import DataRecipe, Recipe, read_recipe
from twlcli.recipe.names import WITHOUT_MINIMUM, is_code
from twlcli.runs.states import has_state

CHECKPOINT_NAME = "model.safetensors"
SPLITS_NAME = "split.csv"
CROSS_VALIDATED_NAME = "cross_validated.npz"
PAGE_NAME = "report.html"
_HALF_WRITTEN = ".twl-*.tmp"  # what `io` leaves of a process that was killed
_MOST_BYTES = 1 << 30  # of a table or list in a run
_ROWS_AT_ONCE = 1 << 14  # of a table that is written


@dataclass(frozen=True)
class Run:
    """A run folder and its recipe."""

    folder: Path
    recipe: Recipe
    made: tuple[Path, ...] = field(default=(), compare=False)  # folders above that came with it

    @classmethod
    def create(cls, folder: Path, recipe: Recipe) -> Run:
        """Make a new run folder and write the recipe into it.

        Raises:
            TwlError: the folder exists and is not empty, or cannot be made.
        """
        cls.check_free(folder)
        made = tuple(each for each in folder.absolute().parents if not each.exists())
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TwlError(f"{folder}: cannot be made ({error.strerror or error})") from error
        run = cls(folder, recipe, made)
        run.tidy()
        try:
            run.write_recipe()
        except TwlError:
            run.discard()
            raise
        return run

    @classmethod
    def check_free(cls, folder: Path) -> None:
        """Raise TwlError where a folder cannot become a new run."""
        with write_errors(folder):
            check_place(folder)
            names = [path.name for path in folder.iterdir()] if folder.exists() else []
            left = [name for name in names if not fnmatch(name, _HALF_WRITTEN)]
        if left and not cls.is_in(folder):
            raise TwlError(f"{folder}: is not empty, and not a run", hint="choose another {out}")
        if left:
            raise TwlError(
                f"{folder}: exists already",
                hint=f"{{resume}} {folder} continues it, or choose another {{out}}",
            )

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder is a run."""
        return (folder / "recipe.toml").is_file()

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run in a folder.

        Raises:
            ModelError: the folder is not a run.
        """
        if not cls.is_in(folder):
            raise ModelError(f"{folder}: not a run folder (it has no recipe.toml)")
        recipe = read_recipe(folder / "recipe.toml")
        if not recipe.data.path:
            raise ModelError(f"{folder / 'recipe.toml'}: is damaged; it names no data")
        return cls(folder, recipe)

    def discard(self) -> None:
        """Remove a run that ended before anything was saved."""
        if not has_state(self.folder) and not self.checkpoint.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            for folder in self.made:
                with suppress(OSError):  # another run is in it
                    folder.rmdir()

    def tidy(self) -> None:
        """Remove what a run that was killed left half-written."""
        for path in self.folder.glob(_HALF_WRITTEN):
            path.unlink(missing_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The best weights with the model's spec."""
        return self.folder / CHECKPOINT_NAME

    def suited(self, *, images: int, labels: int) -> Run:
        """The run with what its recipe left open decided and written into it."""
        run = replace(self, recipe=self.recipe.suited(images=images, labels=labels))
        if run != self:
            run.write_recipe()
        return run

    def write_recipe(self) -> None:
        """Write the resolved recipe."""
        text = self.recipe.to_toml()
        write_whole(self.folder / "recipe.toml", lambda file: file.write(text.encode()))

    @property
    def splits(self) -> tuple[str, str]:
        """The names of the training and validation splits, as `Annotations.split` takes them."""
        data = self.recipe.data
        return normal_splits(data.train_split), normal_splits(data.validation_split)

    def write_metrics(self, history: Iterable[Mapping[str, Any]]) -> None:
        """Write one JSON object per epoch."""
        text = "".join(json.dumps(record) + "\n" for record in history)
        write_whole(self.folder / "metrics.jsonl", lambda file: file.write(text.encode()))

    def history(self) -> tuple[dict[str, Any], ...]:
        """What `write_metrics` wrote; nothing before the first save."""
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return ()
        _check_size(path)
        lines = path.read_text("utf-8", "replace").splitlines()
        records = []
        for number, line in enumerate(lines, start=1):
            try:
                records.append(dict(parse_json(line)))
            except (TypeError, ValueError):
                raise ModelError(
                    f"{path}:{number}: is damaged; expected a JSON object for each epoch",
                    hint="remove the file: {resume} writes it again",
                ) from None
        return tuple(records)

    def write_unreadable(self, reasons: Iterable[str]) -> None:
        """Write which training images were left out, and why; without any, no file is there."""
        if not (reasons := sorted(reasons)):
            (self.folder / "unreadable.txt").unlink(missing_ok=True)
            return
        text = "".join(f"{reason}\n" for reason in reasons)
        data = text.encode("utf-8", "surrogateescape")
        write_whole(self.folder / "unreadable.txt", lambda file: file.write(data))

    def unreadable(self) -> tuple[str, ...]:
        """What `write_unreadable` wrote: path and reason of each image."""
        path = self.folder / "unreadable.txt"
        if not path.is_file():
            return ()
        _check_size(path)
        return tuple(path.read_text("utf-8", "surrogateescape").splitlines())

    def data(self) -> Annotations:
        """The data that the run was trained on, with its splits: also those that twl made.

        Raises:
            AnnotationError: the data are not there any more, or have changed.
        """
        if not self.has_splits:
            return open_data(self.recipe.data)
        path = self.folder / SPLITS_NAME
        annotations = kept_images(read_data(self.recipe.data), self.recipe.data)
        split_of = _read_splits(path)
        images = set(annotations.images)
        # Corrections may have brought images since: they are for training.
        if split_of.keys() - images or (
            images - split_of.keys() and not self.recipe.data.corrections
        ):
            raise AnnotationError(
                f"{annotations.source}: its images are not those that {path} splits; the data "
                "have changed since the run began, or corrections that brought images are missing"
            )
        train, _, _ = self.splits[0].partition(",")
        splits = tuple(split_of.get(image, train) for image in annotations.images)
        return replace(annotations, splits=splits)

    @property
    def has_splits(self) -> bool:
        """Whether it is recorded which split each image is in; else the data say it."""
        return (self.folder / SPLITS_NAME).exists()

    def remove_splits(self) -> None:
        """Forget which split each image is in."""
        (self.folder / SPLITS_NAME).unlink(missing_ok=True)

    @property
    def has_held_out(self) -> bool:
        """Whether twl drew the validation images from those for training."""
        return not self.recipe.data.splits and self.has_splits

    def split_data(self, data: Annotations | None = None) -> tuple[Annotations, Annotations]:
        """The training and validation images; a split that twl has to make is recorded.

        Args:
            data: what `data()` gives, where that is known already.

        Raises:
            AnnotationError: a split that the recipe names is not there, or has no label at all.
        """
        train_split, validation_split = self.splits
        annotations = self.data() if data is None else data
        if not annotations.split_names():
            splits = Categories.repeated(train_split, len(annotations))
            annotations = replace(annotations, splits=splits)
        if not annotations.has_split(validation_split) and "," not in validation_split:
            annotations = self._held_out(annotations)
        elif self.recipe.data.splits and not self.has_splits:
            write_splits(self.folder / SPLITS_NAME, annotations.images, annotations.splits)
        train = annotations.split(train_split)
        if len(train) < 2:
            raise AnnotationError(f"{annotations.source}: {self._too_few(train)}")
        check_training(train, str(annotations.source))
        validation = annotations.split(validation_split)
        if not validation.labels.present_per_label().any():
            raise AnnotationError(f"{annotations.source}: no validation image has a label")
        both = set(train.split_names()) & set(validation.split_names())
        if both and "all" not in self.splits:
            message = f"split '{min(both)}' is both for training and for validation"
            raise AnnotationError(f"{annotations.source}: {message}")
        return train, validation

    def _too_few(self, train: Annotations) -> str:
        """What is said of less than two training images."""
        one = "one image is" if len(train) else "no image is"
        if self.has_held_out:
            return f"{one} left for training after the hold-out; expected two or more"
        return f"{one} in the split '{self.splits[0]}'; training needs two or more"

    def _held_out(self, annotations: Annotations) -> Annotations:
        """A share of the training split becomes the validation split, in the same proportions."""
        train_split, validation_split = self.splits
        train = annotations.rows_in(train_split)
        held = hold_out_images(
            annotations.select(train),
            fraction=self.recipe.data.holdout,
            seed=self.recipe.train.seed,
        )
        splits = Categories.of(annotations.splits).replaced(train[held], validation_split)
        write_splits(self.folder / SPLITS_NAME, annotations.images, splits)
        return replace(annotations, splits=splits)


def check_training(train: Annotations, where: str) -> None:
    """See that there is something to be learned from training images.

    Args:
        train: the images.
        where: they are from, for the error.

    Raises:
        AnnotationError: they are less than two, none has a label, or all have the same.
    """
    if len(train) < 2:
        count = "one training image" if len(train) else "no training image"
        raise AnnotationError(f"{where}: has {count}; expected two or more")
    if not train.labels.present_per_label().any():
        raise AnnotationError(f"{where}: no training image has a label")
    if not (train.labels.present_per_label() * train.labels.absent_per_label()).any():
        raise AnnotationError(
            f"{where}: no label is present in some training images and known to be absent from "
            "others, so that there is nothing to tell apart"
        )


def write_splits(path: Path, images: Sequence[str], splits: Sequence[str]) -> None:
    """Write which split each image is in; `Run.data` and `split_again` go by it."""

    def write(file: IO[bytes]) -> None:
        file.write(b"image,split\n")
        for first in range(0, len(images), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            rows = rows_of_images(tuple(images[some]), tuple(splits[some]))
            file.write(rows.encode("utf-8", "surrogateescape"))

    write_whole(path, write)


def _check_size(path: Path) -> None:
    """Raise ModelError for a file that no run has, such as one with holes."""
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise ModelError(f"{path}: is damaged; it has {size:,} bytes")


def _read_splits(path: Path) -> dict[str, str]:
    """What `write_splits` wrote: the split of each image.

    Raises:
        AnnotationError: the table has no columns `image` and `split`, or puts an image into two.
    """
    split_of: dict[str, str] = {}
    _check_size(path)
    with readable(path), path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        try:
            for row in rows:
                image, split = image_of_cell(row["image"] or ""), row["split"]
                if split is None:
                    raise AnnotationError.at(path, rows.line_num, f"'{image}' has no split")
                split = normal_split(text_of_cell(split))
                before = split_of.setdefault(image, split)
                if before != split:
                    message = f"'{image}' is in split '{split}' and before that in '{before}'"
                    raise AnnotationError.at(path, rows.line_num, message)
        except (KeyError, csv.Error):
            raise AnnotationError(f"{path}: expected columns image and split") from None
    if not split_of:
        raise AnnotationError(f"{path}: names no image")
    return split_of


def check_place(folder: Path) -> None:
    """Raise TwlError where a folder is a file, or would lie in one."""
    absolute = folder.absolute()
    nearest = next(each for each in (absolute, *absolute.parents) if each.exists())
    if not nearest.is_dir():
        raise TwlError(f"{folder}: {nearest} is not a folder")


def check_network(recipe: Recipe) -> None:
    """See that network, head, loss and weights are there, before the data are read.

    Code that the recipe names is imported: whoever calls has seen that it may be.

    Raises:
        RecipeError: there is no such network, or no such function of the user's or it takes other
            arguments, or a frozen network is asked for what it cannot do.
        ModelError: a file of weights is not there.
        MissingExtraError: the head needs timm, which is not installed.
    """
    _check_frozen(recipe)
    check_backbone(recipe.model.backbone)
    if is_code(recipe.model.backbone):
        load_backbone(recipe.model.backbone, allowed=True)
    if is_code(recipe.loss.name):
        load_loss(recipe.loss.name, recipe.loss.options, allowed=True)
    if recipe.model.head == "ml-decoder":
        check_extra("the head 'ml-decoder'", "timm", "timm")
    weights = recipe.model.weights
    if not are_named(weights) and not Path(weights).is_file():
        if not Path(weights).is_dir():
            raise ModelError(f"{weights}: no such weights file or run folder")
        if not (Path(weights) / CHECKPOINT_NAME).is_file():
            raise ModelError(f"{weights}: has no {CHECKPOINT_NAME}, as a run folder has")


def _check_frozen(recipe: Recipe) -> None:
    if recipe.model.frozen and recipe.model.head != "linear":
        raise RecipeError(f"with a frozen backbone the head is linear, not {recipe.model.head}")
    if recipe.model.frozen and recipe.loss.name in WITHOUT_MINIMUM:
        raise RecipeError(
            f"with a frozen backbone the loss cannot be {recipe.loss.name}: its gradient is not "
            "that of its value, so there is no minimum to be found"
        )
    if recipe.model.frozen and recipe.data.missing_positives:
        raise RecipeError(
            "with a frozen backbone data.missing_positives has to be 0: what it leaves out changes "
            "with each batch, so there is no minimum to be found"
        )


def read_data(recipe: DataRecipe) -> Annotations:
    """Open the labels that a recipe's `[data]` section names."""
    defaults = DataRecipe()
    said = {
        name: value for name in WHAT if (value := getattr(recipe, name)) != getattr(defaults, name)
    }
    return read_with(Path(recipe.path), ReadOptions(**said))


def split_again(
    annotations: Annotations, splits: Path | str, *, train_split: str = "train"
) -> Annotations:
    """The images with the splits that a table gives them.

    Args:
        annotations: the images.
        splits: a table of image and split, or a run folder with one; images that it does not name
            are for training.
        train_split: what that split is called; the first of several.

    Raises:
        AnnotationError: there is no such table, it lacks a column, or names none of the images.
    """
    path = Path(splits)
    path = path / SPLITS_NAME if path.is_dir() else path
    if not path.is_file():
        raise AnnotationError(f"{path}: no such table of images and splits")
    split_of = _read_splits(path)
    if not any(image in split_of for image in annotations.images):
        raise AnnotationError(f"{path}: names no image of {annotations.source}")
    train, _, _ = normal_splits(train_split).partition(",")
    train = split_called(train, set(split_of.values())) or train
    again = tuple(split_of.get(image, train) for image in annotations.images)
    return with_note_of_parted_groups(replace(annotations, splits=again))


def open_data(recipe: DataRecipe) -> Annotations:
    """The images that a recipe's `[data]` section keeps, with the splits that it asks for."""
    annotations = kept_images(read_data(recipe), recipe)
    if not recipe.splits:
        return annotations
    return split_again(annotations, recipe.splits, train_split=recipe.train_split)


def kept_images(annotations: Annotations, recipe: DataRecipe) -> Annotations:
    """All images, or those with a label where the recipe drops the others."""
    if recipe.unlabelled == "negative":
        return annotations
    return annotations.select(np.flatnonzero(annotations.labels.present_per_image()))
