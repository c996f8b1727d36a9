import typing
from dataclasses import fields

import pytest
from typer.models import OptionInfo

from twlcli.annotations.read_options import DEFAULTS, WHAT, ReadKeywords, ReadOptions
from twlcli.cli.data import show
from twlcli.cli.label_options import LABEL_OPTIONS
from twlcli.errors import AnnotationError
from twlcli.recipe import DataRecipe


def test_an_option_has_one_name_everywhere():
    names = [each.name for each in fields(ReadOptions)]
    assert list(WHAT) == list(LABEL_OPTIONS) == names
    assert set(names) <= set(DataRecipe.model_fields)
    assert typing.get_type_hints(ReadKeywords) == typing.get_type_hints(ReadOptions)


def test_what_is_given():
    assert DEFAULTS.given() == ReadOptions(join_rows=False).given() == {}
    assert ReadOptions(separator="", images="a").given() == {"images": "a", "separator": ""}


def test_what_a_format_does_not_understand_is_refused(tmp_path):
    options = ReadOptions(separator=";", images=tmp_path)
    options.check(tmp_path, "csv", ("separator", "images"))
    with pytest.raises(AnnotationError, match="a separator does not apply to the format 'coco'"):
        options.check(tmp_path, "coco", ("images",))


def test_a_command_has_every_option():
    hints = typing.get_type_hints(show, include_extras=True)
    for name, option in LABEL_OPTIONS.items():
        info = typing.get_args(hints[name])[1]
        assert isinstance(info, OptionInfo)
        assert info.default == option.flag  # where typer holds the first name
