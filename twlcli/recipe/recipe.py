"""A recipe, its TOML, and how it is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from twlcli.errors import RecipeError, did_you_mean, reason_of
from twlcli.io import parse_toml, read_short_text
from twlcli.recipe.base import Checked, KeyRefused, in_toml, no_table, shown
from twlcli.recipe.losses import LOSS_RECIPES, AnyLoss, TwoWayRecipe
from twlcli.recipe.sections import (
    AugmentRecipe,
    DataRecipe,
    FrozenRecipe,
    ImageRecipe,
    ModelRecipe,
    OptimizerRecipe,
    ScheduleRecipe,
    TrainRecipe,
)
from twlcli.recipe.settings import Setting
from twlcli.recipe.suitable import suitable_batch_size, suitable_rate
from twlcli.versions import FileFormat, unknown_keys

# Recipes of twl 0.1.0 have no version, and the keys of version 1.
RECIPE_FORMAT = FileFormat("recipe", 1)


class Recipe(Checked):
    """Everything that decides how a model is trained.

    A recipe is frozen; `with_values` and `with_settings` make another one, and check it.
    """

    data: DataRecipe = DataRecipe()
    model: ModelRecipe = ModelRecipe()
    image: ImageRecipe = ImageRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    loss: AnyLoss = TwoWayRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    train: TrainRecipe = TrainRecipe()
    frozen: FrozenRecipe = FrozenRecipe()

    def with_values(self, tables: Mapping[str, Any], *, place: str = "") -> Recipe:
        """The recipe with some keys changed; the order of the keys means nothing.

        `image.size` alone brings the `image.resize` that goes with it, and the name of another
        loss that loss's own options.

        Args:
            tables: values by section and key.
            place: where they come from, for error messages.

        Raises:
            RecipeError: an unknown key, or a value that does not fit.

        Example:
            >>> recipe = Recipe().with_values({"image": {"size": 384}, "schedule": {"epochs": 3}})
            >>> recipe.image.resize, recipe.schedule.epochs
            (439, 3)
        """
        try:
            return self._changed(tables)
        except KeyRefused as refused:
            raise RecipeError(f"{place}: {refused}" if place else str(refused)) from refused

    def with_settings(self, settings: Iterable[str | Setting]) -> Recipe:
        """The recipe with some keys changed, as `with_values`; of one key, the last setting counts.

        Args:
            settings: texts such as `schedule.epochs=3`, or settings that know their place.

        Raises:
            RecipeError: not of that form, an unknown key, or a value that does not fit; with the
                place of the setting that is wrong.
        """
        tables: dict[str, dict[str, Any]] = {}
        places: dict[str, str] = {}
        for each in settings:
            setting = Setting.parse(each) if isinstance(each, str) else each
            tables.setdefault(setting.section, {})[setting.key] = setting.value
            places[setting.section] = places[f"{setting.section}.{setting.key}"] = setting.place
        try:
            return self._changed(tables)
        except KeyRefused as refused:
            place = places.get(refused.key) or places[refused.key.partition(".")[0]]
            raise RecipeError(f"{place}: {refused}") from refused

    def suited(self, *, images: int, labels: int) -> Recipe:
        """The recipe with a batch size and a learning rate where it leaves them open."""
        batch_size = self.schedule.batch_size or suitable_batch_size(images)
        rate = self.optimizer.learning_rate or suitable_rate(
            self.loss, labels=labels, batch_size=min(batch_size, images)
        )
        return self.with_values(
            {"schedule": {"batch_size": batch_size}, "optimizer": {"learning_rate": rate}}
        )

    def values(self) -> dict[str, Any]:
        """Every value by `section.key`."""
        return {f"{name}.{key}": value for name, section in self for key, value in section}

    def to_tables(self) -> dict[str, Any]:
        """The version, and every section and key; `from_tables` reads it."""
        tables = {
            name: {key: value for key, value in section if value is not None}
            for name, section in self
        }
        return {"version": RECIPE_FORMAT.version, **tables}

    def to_toml(self) -> str:
        """`to_tables` as TOML."""
        lines = []
        for name, table in self.to_tables().items():
            if not isinstance(table, dict):
                lines += [f"{name} = {in_toml(table)}", ""]
                continue
            lines += [f"[{name}]", *(f"{key} = {in_toml(value)}" for key, value in table.items())]
            lines.append("")
        return "\n".join(lines)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, place: str) -> Recipe:
        """Read what `to_tables` gives, of this version or another; keys left out have defaults.

        Args:
            tables: the version, and values by section and key.
            place: where they come from, for error messages.

        Raises:
            RecipeError: an unknown key, or a value that does not fit; or the recipe is of a newer
                twl, and has what this one does not know.
        """
        version = 0
        try:
            version, tables = RECIPE_FORMAT.opened(tables)
            return cls()._changed(tables)
        except (KeyRefused, ValueError) as refused:
            unknown = unknown_keys(tables, _known_keys(tables))
            newer = RECIPE_FORMAT.newer(version, unknown)
            reason = newer if newer and unknown else "; ".join(filter(None, (str(refused), newer)))
            raise RecipeError(f"{place}: {reason}") from refused

    @classmethod
    def from_toml(cls, text: str, *, place: str) -> Recipe:
        """Read TOML; otherwise as `from_tables`."""
        try:
            tables = parse_toml(text)
        except ValueError as error:
            raise RecipeError(f"{place}: not a TOML recipe ({error})") from error
        return cls.from_tables(tables, place=place)

    def _changed(self, tables: Mapping[str, Any]) -> Recipe:
        values: dict[str, Any] = dict(self)
        for name, table in tables.items():
            mergeable = name in values and isinstance(table, Mapping)
            values[name] = {**values[name].kept(table), **table} if mergeable else table
        return Recipe.model_validate(values)

    @classmethod
    def _refusal(
        cls, kind: str, place: tuple[int | str, ...], error: Mapping[str, Any]
    ) -> KeyRefused:
        name = str(place[0])
        if kind == "extra_forbidden":
            hint = did_you_mean(name, cls.model_fields)
            return KeyRefused(name, f"no section '{name}' in a recipe{hint}")
        if not isinstance(error["input"], Mapping):
            return no_table(name)
        loss = error["input"].get("name")
        if isinstance(loss, str) and ":" in loss:
            hint = "; expected module:function for one of your own"
        else:
            hint = did_you_mean(loss, LOSS_RECIPES) if isinstance(loss, str) else ""
        hint = hint or f" ({', '.join(LOSS_RECIPES)})"
        return KeyRefused("loss.name", f"loss.name is {shown(loss)}, which is not a loss{hint}")


def read_recipe(path: Path | str) -> Recipe:
    """Read a TOML recipe; keys that it leaves out have their defaults.

    Raises:
        RecipeError: the file is missing or not TOML, has an unknown key, or a value that
            does not fit its key; or it is of a newer twl, and has what this one does not know.
    """
    try:
        text = read_short_text(Path(path))
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe ({reason_of(error)})") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not a TOML recipe ({error})") from error
    return Recipe.from_toml(text, place=str(path))


def _known_keys(tables: Mapping[str, Any]) -> dict[str, Collection[str] | None]:
    """The keys of each section; those of `[loss]` go by the loss that `tables` name."""
    known: dict[str, Collection[str] | None] = {
        name: type(section).model_fields for name, section in Recipe()
    }
    loss = tables.get("loss")
    name = loss.get("name") if isinstance(loss, Mapping) else None
    if isinstance(name, str):
        # A loss that is not known may have any option.
        known["loss"] = LOSS_RECIPES[name].model_fields if name in LOSS_RECIPES else None
    return known
