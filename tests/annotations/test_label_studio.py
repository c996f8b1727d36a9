import json

import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels


def write(tmp_path, tasks):
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    return path


def answer(*labels, kind="choices", question="choice"):
    return {"value": {kind: list(labels)}, "type": kind, "from_name": question, "to_name": "image"}


def task(image, *results, **fields):
    annotations = [{"id": 1, "was_cancelled": False, "result": list(result)} for result in results]
    return {"id": 1, "data": {"image": image, "note": "x"}, "annotations": annotations, **fields}


def test_tasks_with_annotations(tmp_path):
    tasks = [
        task("a.jpg", [answer("dog", "cat")], predictions=[{"result": [answer("cow")]}]),
        task("b.jpg", []),
        task("c.jpg"),
        task("d.jpg", [answer("cow", kind="rectanglelabels"), answer("hen", question="other")]),
    ]
    tasks.append(task("e.jpg", [answer("pig")]))
    tasks[-1]["annotations"][0]["was_cancelled"] = True
    annotations = read_labels(write(tmp_path, tasks))
    assert annotations.format == "label-studio"
    assert labels_of(annotations) == {
        "a.jpg": ["cat", "dog"],
        "b.jpg": [],
        "d.jpg": ["cow", "hen"],
    }
    assert annotations.notes == ("images left out because they have no annotation: 2",)
    annotations = read_labels(tmp_path / "tasks.json", labels_column="other")
    assert labels_of(annotations) == {"a.jpg": [], "b.jpg": [], "d.jpg": ["hen"]}


def test_annotators_who_disagree(tmp_path):
    tasks = [task("a.jpg", [answer("dog", "cat")], [answer("dog")]), task("b.jpg", [answer("cat")])]
    annotations = read_labels(write(tmp_path, tasks))
    assert annotations.labels.dense().tolist() == [[-1, 1], [1, 0]]  # cat, dog
    note = "labels that not all annotators of an image named were read as unknown"
    assert annotations.notes == (note,)
    tasks = [
        {"image": "a.jpg", "annotation_id": i, "q": {"choices": c}}
        for i, c in [(1, ["dog"]), (2, ["dog", "cat"])]
    ]
    again = read_labels(
        write(tmp_path, [*tasks, {"image": "b.jpg", "annotation_id": 3, "q": "cat"}])
    )
    assert again.labels.dense().tolist() == annotations.labels.dense().tolist()


def test_min_with_one_choice(tmp_path):
    own = {"annotator": 1, "annotation_id": 1, "created_at": "2023", "lead_time": 3.1}
    tasks = [
        {"image": "a.jpg", "id": 7, "choice": "dog", **own},
        {"image": "b.jpg", "id": 8, **own},
    ]
    annotations = read_labels(write(tmp_path, tasks))
    assert labels_of(annotations) == {"a.jpg": ["dog"], "b.jpg": []}
    tasks[0]["remark"] = "blurred"
    path = write(tmp_path, tasks)
    assert error_of(path) == (
        "tasks.json: which key holds the choices? (keys: choice, remark); name it with "
        "`labels_column`"
    )
    assert labels_of(read_labels(path, labels_column="choice"))["a.jpg"] == ["dog"]


@pytest.mark.parametrize("short", [False, True])
def test_questions_with_the_same_answers_are_refused(tmp_path, short):
    if short:
        tasks = [{"image": "a.jpg", "dog?": {"choices": ["yes"]}, "cat?": {"choices": ["no"]}}]
        tasks += [{"image": "b.jpg", "dog?": {"choices": ["no"]}, "cat?": {"choices": ["no"]}}]
    else:
        pairs = [("a.jpg", "yes", "no"), ("b.jpg", "no", "no")]
        tasks = [
            task(image, [answer(dog, question="dog?"), answer(cat, question="cat?")])
            for image, dog, cat in pairs
        ]
    path = write(tmp_path, tasks)
    assert error_of(path) == (
        "tasks.json: the questions 'cat?' and 'dog?' both have the answer 'no'; `labels_column` "
        "names one of them"
    )
    annotations = read_labels(path, labels_column="dog?")
    assert labels_of(annotations) == {"a.jpg": ["yes"], "b.jpg": ["no"]}
    assert "no question is called 'dog'; the " in error_of(path, labels_column="dog")


def test_boxes_and_choices_may_have_the_same_names(tmp_path):
    boxes = answer("dog", kind="rectanglelabels", question="box")
    path = write(tmp_path, [task("a.jpg", [answer("dog", "cat"), boxes])])
    assert labels_of(read_labels(path)) == {"a.jpg": ["cat", "dog"]}


def test_taxonomies_are_labels_and_ratings_are_named(tmp_path):
    paths = {"value": {"taxonomy": [["animal", "dog"], ["sky"]]}, "type": "taxonomy"}
    rating = {"value": {"rating": 4}, "type": "rating", "from_name": "stars"}
    path = write(tmp_path, [task("a.jpg", [{**paths, "from_name": "what"}, rating])])
    annotations = read_labels(path)
    assert labels_of(annotations) == {"a.jpg": ["animal", "animal|dog", "sky"]}
    assert annotations.notes == ("results that name no labels were not read: rating",)


CSV = """annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at
1,1,dog,2024-01-01,7,a.jpg,3.1,2024-01-01
2,2,cat,2024-01-01,8,b.jpg,2.0,2024-01-01
3,1,"{""choices"": [""dog"", ""cat""]}",2024-01-01,9,c.jpg,1.0,2024-01-01
"""
SECOND = '4,2,"{""choices"": [""dog""]}",2024-01-01,9,c.jpg,1.0,2024-01-01\n'


def test_its_table(tmp_path):
    path = tmp_path / "tasks.csv"
    path.write_text(CSV)
    assert labels_of(read_labels(path)) == {
        "a.jpg": ["dog"],
        "b.jpg": ["cat"],
        "c.jpg": ["cat", "dog"],
    }
    path.write_text(CSV.replace(",choice,", ",my question,") + SECOND)
    for join_rows in (False, True):
        annotations = read_labels(path, join_rows=join_rows)
        assert annotations.labels.dense().tolist() == [[0, 1], [1, 0], [-1, 1]]  # cat, dog
        note = "labels that not all annotators of an image named were read as unknown"
        assert annotations.notes == (note,)


def test_its_table_with_two_questions(tmp_path):
    path = tmp_path / "tasks.csv"
    text = CSV.replace("image,", "image,sky,").replace(".jpg,", ".jpg,grey,")
    path.write_text(text.replace("2,cat", "2,dog"))
    assert error_of(path).endswith("is 'choice' the labels?; `labels_column` choice")


UPLOADED = "/data/upload/3/0a1b2c3d-x%20y.jpg"


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ((), UPLOADED),
        (("x y.jpg",), "x y.jpg"),
        (("0a1b2c3d-x y.jpg",), "0a1b2c3d-x y.jpg"),
        (("x y.jpg", "0a1b2c3d-x y.jpg"), "0a1b2c3d-x y.jpg"),
        (("images/x y.jpg",), "images/x y.jpg"),
        (("upload/3/0a1b2c3d-x y.jpg",), "upload/3/0a1b2c3d-x y.jpg"),
    ],
)
@pytest.mark.parametrize("short", [False, True])
def test_images_that_were_uploaded(tmp_path, there, found, short):
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    short_form = {"image": UPLOADED, "choice": {"choices": ["dog"]}}
    path = write(tmp_path, [short_form if short else task(UPLOADED, [answer("dog")])])
    assert labels_of(read_labels(path)) == {found: ["dog"]}


def test_images_stay_as_they_are_written_if_they_are_there(tmp_path):
    name = "0a1b2c3d-a.jpg"
    for each in (name, "a.jpg"):
        (tmp_path / each).touch()
    path = write(tmp_path, [task(name, [answer("dog")], file_upload="ffffffff-a.jpg")])
    assert read_labels(path).images == (name,)
    path = write(tmp_path, [task(f"{tmp_path}/a.jpg", [answer("dog")])])
    assert read_labels(path).images == (f"{tmp_path}/a.jpg",)


def test_images_of_two_uploads_with_one_name_stay(tmp_path):
    (tmp_path / "a.jpg").touch()
    names = ["/data/upload/1/00000001-a.jpg", "/data/upload/1/00000002-a.jpg"]
    path = write(tmp_path, [task(name, [answer("dog")]) for name in names])
    assert read_labels(path).images == tuple(names)


def test_images_elsewhere(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").touch()
    path = write(tmp_path, [task("/data/upload/1/0a1b2c3d-a.jpg", [answer("dog")])])
    annotations = read_labels(path, images=tmp_path / "photos")
    assert annotations.path(0) == tmp_path / "photos/a.jpg"
    path = write(tmp_path, [task("/data/local-files/?d=photos/a.jpg", [answer("dog")])])
    assert read_labels(path).path(0) == tmp_path / "photos/a.jpg"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task("a.jpg", [answer("dog")]), {"id": 1}], "task 2: is not as Label Studio writes it"),
        ([task("a.jpg", [{"type": []}])], "task 1: is not as Label Studio writes it"),
        ([task("a.jpg", ["x"])], "task 1: is not as Label Studio writes it"),
        ([task(7)], "task 1: 'image' is no path of an image"),
        ([{"text": "x", "q": {"choices": ["a"]}}], "task 1: there is no key 'image' (keys: 'text'"),
        ([{"image": "a", "q": {"choices": [1]}}], "task 1: a choice is no text"),
    ],
)
def test_errors_name_the_task(tmp_path, tasks, message):
    assert error_of(write(tmp_path, tasks)).startswith(f"tasks.json: {message}")


def test_options_that_do_not_apply(tmp_path):
    path = write(tmp_path, [task("a.jpg", [answer("dog")])])
    assert "a separator does not apply to the format 'label-studio'" in error_of(
        path, separator=","
    )
