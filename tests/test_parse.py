import pytest

from twlcli.parse import parse_json, parse_toml


def test_values_are_read():
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    assert parse_json(b"[1]") == [1]
    assert parse_toml("a.b = 1") == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, b"\xff", "x = " + "[" * 5000]
)
def test_what_is_wrong_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)
    if isinstance(text, str):
        with pytest.raises(ValueError):
            parse_toml(text or "=")
