import pytest

from tests.annotations.told import labels_of
from twlcli.annotations.detect import read_labels
from twlcli.annotations.label_names import LabelNames
from twlcli.errors import AnnotationError

YAML = """path: ../data  # where
names:
  0: cat
  1: 'teddy bear'  # a toy

  # none
  3: "dog"
nc: 4
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("names.txt", "cat\n teddy bear \n\n", {0: "cat", 1: "teddy bear"}),
        ("names", "cat", {0: "cat"}),
        ("names.txt", "0 cat\n1 teddy bear\n", {0: "cat", 1: "teddy bear"}),
        ("names.txt", "1: cat\n2: dog\n", {1: "cat", 2: "dog"}),
        ("names.csv", "id,name\n0,cat\n2,dog\n", {0: "cat", 2: "dog"}),
        ("names.csv", "Class ID,name,count\n0,cat,9\n1,dog,5\n", {0: "cat", 1: "dog"}),
        ("names.csv", 'Name;Index\r\n"cat; wild";1\r\n"dog";0\r\n', {0: "dog", 1: "cat; wild"}),
        ("names.tsv", "number\tlabel\n0\ttench, Tinca\n", {0: "tench, Tinca"}),
        ("names.txt", "id name\n0 cat\n1 teddy bear\n", {0: "cat", 1: "teddy bear"}),
        ("names.txt", "# classes\n0 cat\n1 dog\n", {0: "cat", 1: "dog"}),
        ("names.txt", "tench, Tinca\ncat\n", {0: "tench, Tinca", 1: "cat"}),
        ("names.csv", "name,id\ncat,1\ndog,0\n", {0: "dog", 1: "cat"}),
        ("names.txt", "7 eleven\ncat\n", {0: "7 eleven", 1: "cat"}),
        ("names.txt", "0\n1\n2\n", {0: "0", 1: "1", 2: "2"}),
        ("names.json", '["cat", "dog"]', {0: "cat", 1: "dog"}),
        ("names.json", '{"2": "cat", "0": "dog"}', {0: "dog", 2: "cat"}),
        ("names.json", '{"cat": 1, "dog": 0}', {0: "dog", 1: "cat"}),
        ("config.json", '{"model": "x", "id2label": {"0": "cat"}}', {0: "cat"}),
        ("data.yaml", YAML, {0: "cat", 1: "teddy bear", 3: "dog"}),
        ("data.yml", "nc: 2\nnames: [cat, 'teddy bear']\n", {0: "cat", 1: "teddy bear"}),
        ("data.yaml", "names:\n- cat\n- dog's\nval: x\n", {0: "cat", 1: "dog's"}),
        (
            "data.yaml",
            "names:\n  0: cat's paw\n  1: R&B [x], y\n",
            {0: "cat's paw", 1: "R&B [x], y"},
        ),
        ("data.yaml", "names:\n- 'it''s'\n- '\\n'  # x\n", {0: "it's", 1: "\\n"}),
        ("data.yaml", r"""names: ['''', "a\", b", c's]""", {0: "'", 1: 'a", b', 2: "c's"}),
        ("data.yaml", 'names:\n- "Stra\\xDFe"\n- "\\u00e9\\\\xDF"\n', {0: "Straße", 1: "é\\xDF"}),
        ("data.yaml", "names:\n  \"0\": cat\n  '1': dog\n", {0: "cat", 1: "dog"}),
        ("data.yaml", 'names: {"0": cat, "1": "dog"}\n', {0: "cat", 1: "dog"}),
        ("data.yaml", "names:\n\n  [cat,\n   dog]\nval: x\n", {0: "cat", 1: "dog"}),
        ("data.yaml", "names:\n- cat\n- 10-gallon hat\n", {0: "cat", 1: "10-gallon hat"}),
        ("data.yaml", "names: ['a, b', \"c\"]\n", {0: "a, b", 1: "c"}),
        ("data.yaml", "names: [a,  # one\n  b c,\n\n  'd'\n]\nnc: 3\n", {0: "a", 1: "b c", 2: "d"}),
        ("data.yaml", "names: {0: a, 2: 'b, c'}\n", {0: "a", 2: "b, c"}),
        ("data.yaml", "names: {\n  1: a,\n  0: b }\n", {0: "b", 1: "a"}),
    ],
)
def test_files_of_names(tmp_path, name, text, expected):
    path = write(tmp_path, name, text)
    names = LabelNames.read(path)
    assert names.by_number == expected
    assert list(names) == [expected[number] for number in sorted(expected)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("names.txt", "\n\n", "holds no names"),
        ("names.txt", "# classes\ncat\n", ":1: '# classes' looks like a header, and would be"),
        ("names.csv", "name\ncat\n", ":1: 'name' looks like a header"),
        ("names.csv", "id,name\ncat,x\n", ":2: 'cat, x' has no number and name where the"),
        ("names.csv", "id,name\n1,x\n1,y\n", ":3: the number 1 has two names"),
        ("names.csv", 'id,name\n1,"x\n', ":2: the quotes in this row do not match"),
        ("names.csv", "name,count\ncat,9\ndog,5\n", ":1: 'name,count' looks like a header"),
        ("names.csv", "0,cat,9\n1,dog,5\n", "'cat,9' is no name alone; expected columns 'id' and"),
        ("names.csv", '0,"cat"\n1,"dog"\n', "'\"cat\"' is no name alone; expected columns"),
        ("names.txt", "cat\ndog\ncat\n", "the numbers 0 and 2 have the same name 'cat'"),
        ("names.json", '["cat", "cat"]', "the numbers 0 and 1 have the same name 'cat'"),
        ("names.txt", "cat\n\ndog\n", "the name of number 1 is empty"),
        ("names.json", "{", ":1: not valid JSON"),
        ("names.json", "[1, 2]", "expected a list of names"),
        ("names.json", '{"cat": 0, "dog": 0}', "expected a list of names"),
        ("names.json", "7", "expected a list of names"),
        ("data.yaml", "nc: 3\n", "has no key 'names'"),
        ("data.yaml", "names: *other\n", ":1: '*other' is not understood"),
        ("data.yaml", "names: ['a, b\"]\n", ":1: ''a, b\"' is not understood"),
        ("data.yaml", "names: [a, b\nval: x\n", ":1: '[a, b val: x' is not understood"),
        ("data.yaml", "names: {0: a, b}\n", ":1: 'a' is not understood"),
        ("data.yaml", "names: {0: a, 0: b}\n", ":1: two names have the same number"),
        ("data.yaml", "names: dogs.txt\n", "'names' is 'dogs.txt'; expected a list of names"),
        ("data.yaml", "names:\n  - [a, b]\n", ":2: '[a, b]' is not understood"),
        ("data.yaml", 'names:\n  - "\\q"\n', ":2: '\"\\q\"' is not understood"),
        ("data.yaml", 'names:\n  - "\\ud800"\n', ":2: '\"\\ud800\"' is not understood"),
        ("data.yaml", "names:\n  - a: b\n", ":2: 'a: b' is not understood"),
        ("data.yaml", "names:\n  one: a\n", ":2: 'one: a' is not understood"),
        ("data.yaml", "names:\n  - true: a\n", ":2: 'true: a' is not understood"),
    ],
)
def test_files_without_names(tmp_path, name, text, message):
    path = write(tmp_path, name, text)
    with pytest.raises(AnnotationError) as caught:
        LabelNames.read(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photos.csv", "image,labels\na.jpg,2|0\nb.jpg,\nc.jpg,2.0\n"),
        ("photos.csv", "image,labels\na.jpg,2 0\nb.jpg,\nc.jpg,2\n"),
        ("photos.csv", 'image,labels\na.jpg,"[2, 0]"\nb.jpg,[]\nc.jpg,[2]\n'),
        ("photos.csv", "image,labels\na.jpg,dog|0\nb.jpg,\nc.jpg,dog\n"),
        (
            "photos.jsonl",
            '{"image": "a.jpg", "labels": [2, "0"]}\n{"image": "b.jpg", "labels": null}\n'
            '{"image": "c.jpg", "labels": 2}\n',
        ),
        (
            "photos.jsonl",
            '{"image": "a.jpg", "labels": "2 0"}\n{"image": "b.jpg", "labels": {"1": 0}}\n'
            '{"image": "c.jpg", "labels": {"2": 0.9}}\n',
        ),
    ],
)
def test_numbers_become_names(tmp_path, name, text):
    names = write(tmp_path, "names.txt", "cat\ncow\ndog\n")
    annotations = read_labels(write(tmp_path, name, text), names=names)
    assert labels_of(annotations) == {"a.jpg": ["cat", "dog"], "b.jpg": [], "c.jpg": ["dog"]}
    assert annotations.vocabulary.names == ("cat", "cow", "dog")  # in the file's order
    assert annotations.notes == ()


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("photos.csv", "image,labels\na.jpg,1\nb.jpg,2\n", 3),
        ("photos.csv", "image,labels\na.jpg,1\nb.jpg,dgo\n", 3),
        ("photos.csv", "image,labels\na.jpg,-1\n", 2),
        ("photos.jsonl", '{"image": "a.jpg", "labels": [1]}\n{"image": "b", "labels": [2]}\n', 2),
    ],
)
def test_numbers_without_a_name_are_an_error_with_their_line(tmp_path, name, text, line):
    path, names = write(tmp_path, name, text), write(tmp_path, "names.txt", "cat\ndog\n")
    with pytest.raises(AnnotationError) as caught:
        read_labels(path, names=names)
    assert str(caught.value).startswith(f"{path}:{line}: '")
    assert str(caught.value).endswith(f"is no label of {names}, which has 0 to 1")


def test_names_do_not_apply_to_named_columns(tmp_path):
    names = write(tmp_path, "names.txt", "cat\n")
    with pytest.raises(AnnotationError, match="a file of label names does not apply"):
        read_labels(write(tmp_path, "photos.csv", "image,dog\na.jpg,1\n"), names=names)
