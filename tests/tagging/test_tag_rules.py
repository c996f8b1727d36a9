import json
import time
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twlcli.errors import TwlError
from twlcli.labels import Vocabulary
from twlcli.tagging import tag_rules
from twlcli.tagging.tag_rules import TagRules
from twlcli.tagging.tags import Tags

VOCABULARY = Vocabulary(("cat", "dog", "day", "night", "sunny", "gun[x]"))


def policy(**table) -> TagRules:
    return TagRules.of(table, VOCABULARY, place="policy.toml")


def written(rules: TagRules, **given: float) -> dict[str, float]:
    tags = rules(Tags("a.jpg", tuple(given), tuple(given.values())))
    assert tags.image == "a.jpg"
    assert set(tags.labels) <= set(rules.vocabulary)
    assert list(tags.probabilities) == sorted(tags.probabilities, reverse=True)
    return dict(zip(tags.labels, tags.probabilities, strict=True))


def test_an_empty_policy_changes_nothing():
    tags = Tags("a.jpg", ("dog", "cat"), (0.9, 0.9))
    assert policy()(tags) == tags
    assert policy().vocabulary == VOCABULARY


def test_a_label_is_written_by_other_names():
    rules = policy(aliases={"cat": ["feline", "kitty"], "dog": "feline"}, prefix="auto:")
    assert written(rules, dog=0.9, cat=0.8, day=0.7) == {
        "auto:feline": 0.9,
        "auto:kitty": 0.8,
        "auto:day": 0.7,
    }
    assert "auto:kitty" in rules.vocabulary and "auto:cat" not in rules.vocabulary


def test_aliases_are_not_followed():
    assert written(policy(aliases={"cat": "dog", "dog": "cat"}), cat=0.9, dog=0.8) == {
        "dog": 0.9,
        "cat": 0.8,
    }


def test_implied_labels_have_the_highest_probability_of_those_that_imply_them():
    rules = policy(implications={"cat": "animal", "dog": ["animal", "pet"], "animal": "alive"})
    assert written(rules, cat=0.9, dog=0.6) == {
        **{"cat": 0.9, "animal": 0.9, "alive": 0.9},
        **{"dog": 0.6, "pet": 0.6},
    }
    assert list(written(rules, cat=0.9)) == ["cat", "animal", "alive"]
    assert written(rules, day=0.5) == {"day": 0.5}


def test_the_most_probable_of_a_group_stay():
    rules = policy(groups=[{"labels": ["cat", "dog", "day"], "most": 2}])
    assert written(rules, cat=0.5, dog=0.6, day=0.7, night=0.1) == {
        "day": 0.7,
        "dog": 0.6,
        "night": 0.1,
    }
    assert written(rules, cat=0.5, dog=0.5, day=0.5) == {"cat": 0.5, "dog": 0.5}


def test_what_implies_a_loser_of_a_group_is_gone_too():
    rules = policy(implications={"sunny": ["day", "warm"]}, groups=[{"labels": ["day", "night"]}])
    assert written(rules, sunny=0.8, night=0.9) == {"night": 0.9}
    assert written(rules, sunny=0.9, night=0.8) == {"sunny": 0.9, "day": 0.9, "warm": 0.9}


def test_never_and_only_see_labels_and_written_names():
    rules = policy(aliases={"cat": ["kitty", "feline"]}, never=["kitty", "n*", "gun[x]"])
    given = {"cat": 0.9, "night": 0.8, "gun[x]": 0.7, "day": 0.6}
    assert written(rules, **given) == {"feline": 0.9, "day": 0.6}
    assert written(policy(never=["cat"], aliases={"cat": "kitty"}), cat=0.9) == {}
    assert written(policy(only=["cat", "d*"]), **given) == {"cat": 0.9, "day": 0.6}
    assert written(policy(only=["d*"], never=["dog"]), dog=0.9, day=0.8) == {"day": 0.8}


def test_what_is_never_written_still_implies_and_competes():
    rules = policy(
        never=["dog"], implications={"dog": "animal"}, groups=[{"labels": ["dog", "cat"]}]
    )
    assert written(rules, dog=0.9, cat=0.8) == {"animal": 0.9}


def test_a_policy_is_read_from_a_file(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        '\ufeffprefix = "auto:"\nnever = ["cat", "*gun*"]\n[aliases]\ndog = "hound"\n'
        '[implications]\nsunny = ["day"]\n[[groups]]\nlabels = ["day", "night"]\n'
    )
    rules = TagRules.read(path, VOCABULARY)
    assert written(rules, sunny=0.9, dog=0.8, night=0.7, cat=0.6) == {
        **{"auto:sunny": 0.9, "auto:day": 0.9},
        "auto:hound": 0.8,
    }


def test_the_example_of_the_docstring_is_a_policy(tmp_path):
    text = (TagRules.read.__doc__ or "").partition("Example:")[2].partition("Raises:")[0]
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(line.strip() for line in text.splitlines()))
    names = ("person", "aeroplane", "cat", "dog", "day", "night", "water weapon")
    rules = TagRules.read(path, Vocabulary(names))
    assert set(rules.vocabulary) == {"auto:dog", "auto:animal", "auto:day", "auto:night"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("never = 3", "never is 3, expected text on one line"),
        ("prefix = ['a']", r"prefix is \[\"a\"\], expected text"),
        ('prefix = "a\\nb"', "prefix is .*, expected text on one line"),
        ("nevre = ['cat']", "no key 'nevre' in the tag rules; did you mean 'never'"),
        ("never = ['catt']", "never: label 'catt' is not in the vocabulary; did you mean 'cat'"),
        ("never = ['*gum*']", r"never: pattern '\*gum\*' matches no label"),
        ("only = ['kitty']", "only: label 'kitty' is not"),
        ("aliases = ['cat']", r"aliases is \[\"cat\"\], expected a table \[aliases\]"),
        ("[aliases]\ncat = []", "aliases.cat is empty"),
        ("[aliases]\ncat = ''", 'aliases.cat is "", expected text'),
        ("[aliases]\ncta = 'x'", "aliases: label 'cta' is not in the vocabulary; .* 'cat'"),
        ("[implications]\ncta = 'x'", "implications: label 'cta' is not"),
        ("[implications]\ncat = 'cat'", "cycle: cat → cat"),
        (
            "[implications]\ncat = 'x'\nx = 'dog'\ndog = 'cat'",
            "implications form a cycle: (cat → x → dog|x → dog → cat|dog → cat → x) → ",
        ),
        ("[groups]\nlabels = ['cat']", r"groups is .*, expected tables \[\[groups\]\]"),
        ("[[groups]]\nlabels = ['cat', 'cat']", "group 1: labels has 1, expected at"),
        ("[[groups]]\nlabels = ['cat', 'cow']", "group 1: label 'cow' is not"),
        ("[[groups]]\nlabels = ['cat', 'dog']\nmost = 2", "most is 2, expected 1 to 1"),
        ("[[groups]]\nlabels = ['cat', 'dog']\nmost = true", "most is true, expected 1 to 1"),
        ("[[groups]]\nlabel = ['cat', 'dog']", "no key 'label' in a group; did you mean 'labels'"),
        (
            "[implications]\nsunny = 'day'\n[[groups]]\nlabels = ['day', 'sunny']",
            "'day' and 'sunny' are exclusive, but 'sunny' implies both",
        ),
        (
            "[implications]\ncat = ['day', 'night']\n[[groups]]\nlabels = ['day', 'night']",
            "'day' and 'night' are exclusive, but 'cat' implies both",
        ),
        ("cat", "not a TOML file of tag rules"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(TwlError, match=rf"policy\.toml: .*{message}"):
        TagRules.read(path, VOCABULARY)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TwlError, match=r"gone\.toml: cannot read the tag rules \(No such file"):
        TagRules.read(tmp_path / "gone.toml", VOCABULARY)


def test_the_digest_tells_policies_apart():
    tables: list[dict[str, object]] = [
        {},
        {"prefix": "a"},
        {"never": ["cat"]},
        {"only": ["cat"]},
        {"aliases": {"cat": "x"}},
        {"implications": {"cat": "x"}},
        {"groups": [{"labels": ["cat", "dog", "day"]}]},
        {"groups": [{"labels": ["cat", "dog", "day"], "most": 2}]},
    ]
    assert len({policy(**table).digest for table in tables}) == len(tables)
    one = policy(aliases={"cat": "x", "dog": ["y"]}, groups=[{"labels": ["cat", "dog"]}])
    same = policy(groups=[{"most": 1, "labels": ["cat", "dog"]}], aliases={"dog": "y", "cat": "x"})
    assert one.digest == same.digest


# Properties, over labels a..f whose implications lead only from earlier to later letters.

LETTERS = "abcdef"
PROBABILITIES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]) | st.floats(0, 1)


def table_of(data, *, renames: bool) -> dict[str, Any]:
    table: dict[str, Any] = {
        "implications": {
            letter: data.draw(
                st.lists(st.sampled_from(LETTERS[place + 1 :]), min_size=1, max_size=2)
            )
            for place, letter in enumerate(LETTERS[:-1])
            if data.draw(st.booleans())
        },
        "groups": data.draw(
            st.lists(
                st.fixed_dictionaries(
                    {
                        "labels": st.lists(st.sampled_from(LETTERS), min_size=3, unique=True),
                        "most": st.integers(1, 2),
                    }
                ),
                max_size=2,
            )
        ),
        "never": data.draw(st.lists(st.sampled_from([*LETTERS, "[ab]"]), max_size=2)),
        "only": data.draw(st.lists(st.sampled_from([*LETTERS, "[!a]"]), max_size=3)),
    }
    if renames:
        table["aliases"] = data.draw(
            st.dictionaries(
                st.sampled_from(LETTERS), st.lists(st.sampled_from("abxyz"), min_size=1, max_size=2)
            )
        )
        table["prefix"] = data.draw(st.sampled_from(["", "auto:"]))
    return table


def drawn(data, *, renames: bool) -> tuple[dict[str, Any], TagRules, Tags]:
    table = table_of(data, renames=renames)
    try:
        rules = TagRules.of(table, Vocabulary(tuple(LETTERS)), place="policy")
    except TwlError as error:  # a group that the implications contradict
        assert "are exclusive" in str(error)
        table["groups"] = []
        rules = TagRules.of(table, Vocabulary(tuple(LETTERS)), place="policy")
    given = data.draw(st.dictionaries(st.sampled_from(LETTERS), PROBABILITIES))
    labels = sorted(given, key=lambda label: -given[label])
    return table, rules, Tags("a.jpg", tuple(labels), tuple(given[label] for label in labels))


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def reference(table: dict[str, Any], given: dict[str, float]) -> dict[str, float]:
    """The policy again, as plain loops over its TOML."""

    def implied(labels: dict[str, float]) -> dict[str, float]:
        result = dict(labels)
        for _ in range(10):
            for label, targets in table["implications"].items():
                for target in listed(targets):
                    if label in result:
                        result[target] = max(result.get(target, 0.0), result[label])
        return result

    for group in table["groups"]:
        while True:
            closed = implied(given)
            there = [label for label in group["labels"] if label in closed]
            if len(there) <= group["most"]:
                break
            loser = min(reversed(there), key=lambda label: closed[label])
            given = {
                each: value for each, value in given.items() if loser not in implied({each: 1})
            }
    result: dict[str, float] = {}
    for label, probability in implied(given).items():
        for name in listed(table.get("aliases", {}).get(label, label)):
            banned = any(
                fnmatchcase(each, entry) for entry in table["never"] for each in (label, name)
            )
            chosen = any(
                fnmatchcase(each, entry) for entry in table["only"] for each in (label, name)
            )
            if not banned and (chosen or not table["only"]):
                name = table.get("prefix", "") + name
                result[name] = max(result.get(name, 0.0), probability)
    return result


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_policy_does_what_plain_loops_do(data):
    table, rules, tags = drawn(data, renames=True)
    given = dict(zip(tags.labels, tags.probabilities, strict=True))
    before = json.dumps(given)
    found = rules(tags)
    assert dict(zip(found.labels, found.probabilities, strict=True)) == reference(table, given)
    assert found == rules(tags)
    assert json.dumps(given) == before
    assert set(found.labels) <= set(rules.vocabulary)
    assert len(set(found.labels)) == len(found.labels)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_without_new_names_a_second_application_changes_nothing(data):
    _, rules, tags = drawn(data, renames=False)
    once = rules(tags)
    assert rules(once) == once


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_a_policy_promises_holds(data):
    table, rules, tags = drawn(data, renames=False)
    found = dict(zip(rules(tags).labels, rules(tags).probabilities, strict=True))
    for group in table["groups"]:
        assert sum(label in found for label in group["labels"]) <= group["most"]
    for label in found:
        assert label not in table["never"]
    if not table["never"] and not table["only"]:
        for label, targets in table["implications"].items():
            for target in listed(targets):
                assert label not in found or found[target] >= found[label]


# --- rules that are many --------------------------------------------------------------------------


def test_a_long_chain_of_implications_takes_no_longer_than_it_has_to():
    """It was quadratic in time and memory: a chain of 20,000 took minutes."""
    names = [f"l{number}" for number in range(20_000)]
    table = {
        "implications": dict(pairwise(names)),
        "never": names[::10],
        "groups": [{"labels": ["l0", "other"]}, {"labels": ["l5", "another"]}],
    }
    begin = time.monotonic()
    rules = TagRules.of(table, Vocabulary((*names, "other", "another")), place="rules.toml")
    tags = rules(Tags("a.jpg", ("l1", "other"), (0.9, 0.8)))
    assert (len(tags.labels), set(tags.probabilities)) == (18_001, {0.9, 0.8})
    assert time.monotonic() - begin < 5


def test_a_long_circle_is_told_in_a_line():
    names = [f"l{number}" for number in range(20_000)]
    table = {"implications": dict(pairwise([*names, names[0]]))}
    with pytest.raises(TwlError, match=r"form a cycle: l[0-9]+ → .* → …$") as caught:
        TagRules.of(table, Vocabulary(tuple(names)), place="rules.toml")
    assert len(str(caught.value)) < 500


def test_groups_and_patterns_are_compared_only_so_long(monkeypatch):
    names = [f"l{number}" for number in range(300)]
    table: dict[str, Any] = {"implications": dict.fromkeys(names, "top")}
    table["groups"] = [{"labels": ["top", "other"]}] * 300
    vocabulary = Vocabulary((*names, "other"))
    TagRules.of(table, vocabulary, place="rules.toml")
    monkeypatch.setattr(tag_rules, "_MOST_STEPS", 10_000)
    with pytest.raises(TwlError, match=r"group 34: too many groups of labels that many others"):
        TagRules.of(table, vocabulary, place="rules.toml")
    with pytest.raises(TwlError, match=r"only: more than 1,000 patterns"):
        TagRules.of({"only": [f"l{n}*" for n in range(1001)]}, vocabulary, place="rules.toml")
