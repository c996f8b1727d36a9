"""Training a model: what `twl train` does, as functions.

What can be checked without torch, which takes seconds to load, is checked before it is loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from twlcli.annotations.annotations import Annotations
from twlcli.errors import (
    DivergedError,
    InterruptedRunError,
    ModelError,
    RecipeError,
    TwlError,
    check_extra,
    needs_extra,
)
from twlcli.io import locked_folder
from twlcli.recipe import Recipe
from twlcli.runs.resolve import (
    CHANGEABLE_BUT_HEAD,
    CHANGEABLE_OF_HEAD,
    Settings,
    check_code,
    continued_recipe,
    resolved_recipe,
    same_recipe,
)
from twlcli.runs.run_folder import Run, check_network, open_data
from twlcli.runs.states import has_state
from twlcli.training.watcher import EachEpoch, Silent, Watcher

OnEpoch = Callable[[dict[str, Any]], object]


def train(
    data: Path | str | Recipe,
    *,
    out: Path | str | None = None,
    recipe: Recipe | Path | str | None = None,
    settings: Settings = (),
    device: str = "auto",
    features: Path | str | None = None,
    then_finetune: bool = False,
    watcher: Watcher | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    allow_code: bool = False,
    auto_resume: bool = False,
) -> Run:
    """Train a tagger and keep the best epoch's weights in a new run folder.

    Under `torchrun` all ranks train one model, with the loss of the whole batch.

    Args:
        data: a label file or folder, or a recipe whose `data.path` names one.
        out: the run folder, new or empty; None is `runs/DATA-BACKBONE`, or the first free of
            `-2`, `-3` and so on.
        recipe: to start from: a recipe, a TOML file or the name of a bundled one.
        settings: changes of the recipe: values by `section.key`, such as
            `{"schedule.epochs": 3}`, or texts such as `schedule.epochs=3`.
        device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
        features: the folder where a frozen backbone's features are kept; None is the user's cache.
        then_finetune: train the whole network from the head of the frozen backbone; that run is
            kept beside the other, in a folder with `-head` at its end.
        watcher: told about progress.
        on_epoch: called with the scores of each epoch, the line of `metrics.jsonl` as a dictionary,
            when it is saved; what it raises ends the training. Of several ranks only the first
            calls it. A frozen backbone has no epochs.
        should_stop: asked between steps; on True the state is saved and training stops.
        allow_code: import a backbone or loss `module:function` that the recipe names. Those in
            `settings` are the caller's own, and are imported without.
        auto_resume: where `out` is a run of this recipe already, continue it, so that a scheduler
            can start the same training again.

    Returns:
        The run: `run.checkpoint` is the model, `run.history()` the scores of each epoch.

    Raises:
        RecipeError: the recipe has an unknown name or key, or a value out of range.
        AnnotationError: the data cannot be read, or an image is missing.
        ModelError: the pretrained weights cannot be read, or the recipe names code that is not
            allowed.
        InterruptedRunError: `should_stop` returned True; `resume` continues the run.
        DivergedError: the loss became NaN or infinite.
        DeviceError: the device is not available, or its memory is exhausted.
        TwlError: the folder exists and is not empty, or is a run of another recipe.
        MissingExtraError: the `train` extra is not installed.
    """
    check_extra("training", "train", "torch")
    if isinstance(data, Recipe):
        wanted = resolved_recipe(data.data.path, data, settings, allow_code=allow_code)
    else:
        wanted = resolved_recipe(data, recipe, settings, allow_code=allow_code)
    folder = _free_folder(wanted) if out is None else Path(out)
    begun = auto_resume and Run.is_in(folder)
    if not begun:
        Run.check_free(folder)
    if then_finetune:
        if not wanted.model.frozen:
            raise TwlError("then_finetune does nothing without model.frozen")
        own = folder.resolve() if folder.name in ("", "..") else folder
        head = own.with_name(f"{own.name}-head")
        of_head, wanted = wanted, _from_head(wanted, head)
        if begun:
            _check_begun_from(head, Run.open(folder), wanted)
        if not (begun and has_state(folder)):
            train(
                of_head,
                out=head,
                device=device,
                features=features,
                watcher=watcher,
                should_stop=should_stop,
                allow_code=allow_code,
                auto_resume=auto_resume,
            )
    told = _told(watcher, on_epoch)
    if begun:
        run = Run.open(folder)
        if run.recipe.model.frozen and run.checkpoint.exists():
            same_recipe(run.recipe, wanted, changeable=CHANGEABLE_OF_HEAD)
            told.noted("nothing is left to train", f"{{resume}} {folder} finds the head anew")
            return run
        recipe = same_recipe(run.recipe, wanted)
        return _resume(run, recipe, device, features, told, should_stop)
    annotations = _read(wanted)

    def begin(held: ExitStack) -> Run:
        if auto_resume and Run.is_in(folder):
            raise TwlError(f"{folder}: another process has just begun this run")
        run = Run.create(folder, wanted)
        held.enter_context(locked_folder(folder))
        return run

    return _train(begin, annotations, device, features, told, should_stop, new=True)


def _from_head(recipe: Recipe, head: Path) -> Recipe:
    """The recipe of a whole network that begins with a frozen one's head, in the run `head`."""
    return recipe.with_values({"model": {"frozen": False, "weights": str(head.resolve())}})


def _check_begun_from(head: Path, run: Run, wanted: Recipe) -> None:
    """Raise RecipeError where a run did not begin with a head, or is of another recipe."""
    if run.recipe.model.weights != wanted.model.weights:
        raise RecipeError(
            f"{run.folder}: did not begin with the head in {head}",
            hint="another {out} begins another run",
        )
    same_recipe(run.recipe, wanted, changeable=CHANGEABLE_BUT_HEAD)


def resume(
    run: Path | str,
    data: Path | str | None = None,
    *,
    settings: Settings = (),
    device: str = "auto",
    features: Path | str | None = None,
    watcher: Watcher | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    allow_code: bool = False,
) -> Run:
    """Continue a run where it was last saved; on a CPU to the same weights.

    A run that was never saved begins anew. One that has ended goes on where `settings` ask for more
    epochs: at the learning rate of the longer schedule. Of a frozen backbone the head is found
    anew, for the labels as they are now: it begins with the run's head and keeps its penalty.
    Otherwise as `train`, errors included.

    Args:
        run: the run folder.
        data: where its labels are now, if they were moved.
        settings: changes of its recipe, as for `train`, to keys that leave the training what it is,
            such as `{"schedule.epochs": 60}` or `{"train.workers": 0}`.
        device: as for `train`.
        features: as for `train`.
        watcher: told about progress.
        on_epoch: as for `train`.
        should_stop: asked between steps; on True the state is saved and training stops.
        allow_code: import a backbone or loss `module:function` that the run's recipe names.

    Raises:
        ModelError: the folder is not a run, what was saved is damaged, the data have other labels,
            images or splits than those that it began with, or its recipe names code that is not
            allowed.
        RecipeError: a setting that would make another training of it.
    """
    check_extra("training", "train", "torch")
    opened = Run.open(Path(run))
    recipe = continued_recipe(opened.recipe, data, settings)
    check_code(recipe, str(opened.folder / "recipe.toml"), allow_code=allow_code)
    return _resume(opened, recipe, device, features, _told(watcher, on_epoch), should_stop)


def _resume(
    opened: Run,
    recipe: Recipe,
    device: str,
    features: Path | str | None,
    watcher: Watcher,
    should_stop: Callable[[], bool],
) -> Run:
    """Continue a run with a recipe that is its own but for what may change."""
    _check_state(opened, recipe)
    changed, had_splits = Run(opened.folder, recipe), opened.has_splits
    annotations = _noting_corrections(changed.data(), opened.recipe, recipe)

    def begin(held: ExitStack) -> Run:
        held.enter_context(locked_folder(changed.folder))
        changed.tidy()
        if changed != opened and not recipe.model.frozen:  # which writes it in the end
            changed.write_recipe()
        return changed

    def refused() -> None:
        if changed != opened and not recipe.model.frozen:
            opened.write_recipe()
        if not had_splits:
            changed.remove_splits()

    return _train(
        begin, annotations, device, features, watcher, should_stop, new=False, refused=refused
    )


def _noting_corrections(data: Annotations, before: Recipe, after: Recipe) -> Annotations:
    """The data with a note where other corrections take the place of those before."""
    first, second = before.data.corrections, after.data.corrections
    if not first or not second or Path(first).resolve() == Path(second).resolve():
        return data
    if Path(second).resolve() in Path(first).resolve().parents:  # a folder with both
        return data
    return data.with_note(
        f"{second} takes the place of {first}, whose corrections count no more; a folder holds both"
    )


def _check_state(run: Run, recipe: Recipe) -> None:
    """Raise where a run cannot go on with a recipe."""
    done = 0 if recipe.model.frozen else len(run.history())
    if recipe.schedule.epochs < done:
        raise RecipeError(
            f"schedule.epochs is {recipe.schedule.epochs}; {run.folder} has {done} behind it"
        )
    if not has_state(run.folder):
        if done:
            raise ModelError(
                f"{run.folder}: has {done} epoch{'s' if done > 1 else ''} behind it, but no "
                "state to continue from",
                hint=f"a new run with {{weights}} {run.folder} starts from its model",
            )
        if not (recipe.model.frozen and run.checkpoint.exists()):
            check_network(recipe)


def _free_folder(recipe: Recipe) -> Path:
    """`runs/DATA-BACKBONE`, or the first free of `-2`, `-3`..."""
    name = f"{Path(recipe.data.path).stem}-{recipe.model.backbone}"
    folders = (Path("runs") / (f"{name}-{n}" if n > 1 else name) for n in itertools.count(1))
    return next(folder for folder in folders if not folder.exists())


def _read(recipe: Recipe) -> Annotations:
    """The data of a recipe, once its network and weights are known to be there."""
    check_network(recipe)
    return open_data(recipe.data)


def _told(watcher: Watcher | None, on_epoch: OnEpoch | None) -> Watcher:
    told = watcher or Silent()
    return told if on_epoch is None else EachEpoch(told, on_epoch)


def _train(
    begin: Callable[[ExitStack], Run],
    data: Annotations | None,
    device: str,
    features: Path | str | None,
    watcher: Watcher,
    should_stop: Callable[[], bool],
    *,
    new: bool,
    refused: Callable[[], None] = lambda: None,
) -> Run:
    with needs_extra("training", "train"):
        from twlcli.training.devices import joined_ranks
        from twlcli.training.frozen import train_frozen
        from twlcli.training.trainer import Trainer

    with joined_ranks(device) as ranks, ExitStack() as held:
        own = begin(held) if ranks.first else None
        folder = ranks.gather(own and own.folder)[0]
        run = own or Run.open(folder)
        try:
            if run.recipe.model.frozen:
                if ranks.world > 1:
                    raise TwlError("the head of a frozen backbone is found by one process alone")
                with _undoing(refused):
                    train_frozen(
                        *(run, watcher),
                        data=data,
                        device=device,
                        should_stop=should_stop,
                        features=None if features is None else Path(features),
                        writes_page=True,
                    )
                return run
            resumed = has_state(run.folder)
            # What code the recipe names was allowed before the run was begun.
            with _undoing(refused if ranks.first else lambda: None):
                trainer = Trainer(
                    *(run, ranks, watcher),
                    resumed=resumed,
                    data=data,
                    allow_code=True,
                    writes_page=True,
                )
            with _advice(run):
                trainer.train(should_stop)
        except InterruptedRunError:
            raise
        except BaseException:
            if ranks.first and new:
                run.discard()
            raise
        return trainer.run


@contextmanager
def _undoing(refused: Callable[[], None]) -> Iterator[None]:
    """What was written before a run is known to go on is taken back where it does not."""
    try:
        yield
    except BaseException:
        refused()
        raise


@contextmanager
def _advice(run: Run) -> Iterator[None]:
    """An error that ends a training says how to go on, where something was saved."""
    try:
        yield
    except DivergedError:
        raise
    except TwlError as error:
        if has_state(run.folder):
            error.advise(f"{{resume}} {run.folder} continues from what was saved")
        raise
