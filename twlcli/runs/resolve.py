"""From what a caller says to the recipe of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from twlcli.errors import RecipeError, needs_extra
from twlcli.model.backbone_names import HUB, TIMM, are_named
from twlcli.model.bundled import recipe_file
from twlcli.model.user_code import check_allowed
from twlcli.recipe import Recipe, Setting, read_recipe

Settings = Mapping[str, Any] | Iterable[str | Setting]

_DECIDED = ("schedule.batch_size", "optimizer.learning_rate")  # by a run whose recipe has 0
# Keys that hold paths, which a run has to find wherever it is continued from.
_DATA_PATHS = ("path", "images", "coco_images", "names", "val_data", "test_data", "corrections")
_PATHS = {("data", key) for key in (*_DATA_PATHS, "splits")}
# What may change when a run is resumed: where the data are, how long it takes, on what, and how a
# head is found, which is found anew.
CHANGEABLE = (
    *(f"data.{key}" for key in _DATA_PATHS),
    *("schedule.epochs", "schedule.validate_every", "schedule.micro_batch"),
    *("train.workers", "train.threads", "train.save_minutes", "train.checkpoint_activations"),
    *("frozen.views", "frozen.folds", "frozen.penalty", "frozen.tolerance"),
)
# Of a whole network that begins with a frozen one's head: all that does not make another head.
CHANGEABLE_BUT_HEAD = tuple(key for key in CHANGEABLE if not key.startswith("frozen."))
# Of a head that is there: what it does not depend on.
CHANGEABLE_OF_HEAD = tuple(key for key in CHANGEABLE if key.startswith(("schedule.", "train.")))


def resolved_recipe(
    data: Path | str,
    recipe: Recipe | Path | str | None = None,
    settings: Settings = (),
    *,
    place: str = "data",
    allow_code: bool = False,
) -> Recipe:
    """A recipe for some data, with changes; paths in the changes become absolute.

    A backbone or loss `module:function` that the changes name is the caller's own. Of the recipe
    that they change, which may be a stranger's, it is refused.

    Args:
        data: a label file or folder.
        recipe: to start from: a recipe, a TOML file or the name of a bundled one; None for the
            defaults.
        settings: values by `section.key`, or texts such as `schedule.epochs=3`; of one key the last
            counts.
        place: what error messages call `data`.
        allow_code: the recipe may name code too.

    Raises:
        RecipeError: there is no such recipe, or a setting names what there is not or does not fit.
        ModelError: the recipe names code, which is not allowed.
    """
    if not str(data):
        raise RecipeError("nothing to train on; expected a label file, or a folder with labels")
    base = _base(recipe)
    changes = [Setting("data", "path", str(data), place), *_listed(settings)]
    resolved = base.with_settings([_absolute(each) for each in changes])
    given = {f"{each.section}.{each.key}" for each in changes}
    where = "the recipe" if isinstance(recipe, Recipe) else f"recipe '{recipe}'"
    check_code(resolved, where, allow_code=allow_code, given=given)
    return _suited_to_backbone(resolved)


def check_code(
    recipe: Recipe, where: str, *, allow_code: bool, given: Collection[str] = ()
) -> None:
    """Refuse a recipe with a backbone or loss `module:function`, unless it is allowed.

    Args:
        recipe: to be trained.
        where: it comes from.
        allow_code: whether it may name code.
        given: keys `section.key` whose values are the caller's own.

    Raises:
        ModelError: it names code, and may not.
    """
    for key, name in (("model.backbone", recipe.model.backbone), ("loss.name", recipe.loss.name)):
        check_allowed(name, f"{where}: {key}", allowed=allow_code or key in given)


def continued_recipe(
    recipe: Recipe, data: Path | str | None = None, settings: Settings = ()
) -> Recipe:
    """A run's recipe with the changes that it can be resumed with.

    Raises:
        RecipeError: a setting would make another training of it, or does not fit.
    """
    moved = [] if data is None else [Setting("data", "path", str(data), "data")]
    changes = [_absolute(each) for each in (*moved, *_listed(settings))]
    for change in changes:
        key = f"{change.section}.{change.key}"
        if key not in CHANGEABLE and recipe.with_settings([change]) != recipe:
            raise RecipeError(
                f"{change.place}: {key} stays as it is when a run is resumed; "
                f"these may change: {', '.join(CHANGEABLE)}"
            )
    return recipe.with_settings(changes)


def same_recipe(
    recipe: Recipe, wanted: Recipe, *, changeable: Collection[str] = CHANGEABLE
) -> Recipe:
    """A run's recipe, to continue it by the command that began it.

    Args:
        recipe: the run's.
        wanted: what the command asks for; what may change when a run is resumed is taken from it.
        changeable: the keys that may.

    Raises:
        RecipeError: it asks for another training.
    """
    own, changes = recipe.values(), []
    for key, value in wanted.values().items():
        if key in changeable:
            section, _, name = key.partition(".")
            changes.append(Setting(section, name, value, key))
        elif value != own[key] and not (key in _DECIDED and not value):
            raise RecipeError(
                f"{key} is {value}; the run began with {own[key]}",
                hint="another {out} begins another run",
            )
    return recipe.with_settings(changes)


def _suited_to_backbone(recipe: Recipe) -> Recipe:
    """The recipe with the image values that a network of timm brings, where none were given."""
    backbone, weights = recipe.model.backbone, recipe.model.weights
    if not backbone.startswith((TIMM, HUB)):
        return recipe
    with needs_extra("training", "train"):
        from twlcli.model import timm_networks
    if backbone.startswith(HUB):
        weights = backbone if weights == "default" else weights
        network = timm_networks.network_of_hub(backbone)
        recipe = recipe.with_values({"model": {"backbone": network, "weights": weights}})
    own = timm_networks.image_values(recipe.model.backbone, weights)
    given = recipe.image.model_fields_set
    size = recipe.image.size if "size" in given else own["size"]
    own["resize"] = max(size, round(size * own["resize"] / own["size"]))
    own["size"] = size
    values = {key: value for key, value in own.items() if key not in given}
    return recipe.with_values({"image": {**recipe.image.kept({}), **values}})


def _base(recipe: Recipe | Path | str | None) -> Recipe:
    if recipe is None:
        return Recipe()
    return recipe if isinstance(recipe, Recipe) else read_recipe(recipe_file(str(recipe)))


def _listed(settings: Settings) -> list[Setting]:
    if isinstance(settings, Mapping):
        parts = [(key, *key.partition("."), value) for key, value in settings.items()]
        return [
            Setting.parse(key) if not dot else Setting(section, name, value, key)
            for key, section, dot, name, value in parts
        ]
    several = [settings] if isinstance(settings, str) else settings
    return [Setting.parse(each) if isinstance(each, str) else each for each in several]


def _absolute(setting: Setting) -> Setting:
    key, value = (setting.section, setting.key), setting.value
    is_path = key in _PATHS or (key == ("model", "weights") and not are_named(str(value)))
    if is_path and isinstance(value, str | Path) and str(value):
        return Setting(*key, str(Path(value).resolve()), setting.place)
    return setting
