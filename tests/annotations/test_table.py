import csv
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.annotations.told import labels_of
from twlcli.annotations.detect import read_labels
from twlcli.annotations.jsonl import read_jsonl
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.table import read_table
from twlcli.errors import AnnotationError


def write(tmp_path, text, *, name="photos.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def unknowns_of(annotations):
    names = annotations.vocabulary.names
    return [
        [names[column] for column in annotations.labels.unknown(row)]
        for row in range(len(annotations))
    ]


def error_of(path, **options):
    with pytest.raises(AnnotationError) as caught:
        read_table(path, ReadOptions(**options))
    return str(caught.value).removeprefix(str(path.parent) + "/")


# --- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,labels\na.jpg,dog|cat\nb.jpg,\n", {"a.jpg": ["cat", "dog"], "b.jpg": []}),
        ("image,labels\na.jpg,dog; cat\n", {"a.jpg": ["cat", "dog"]}),
        ('image,labels\na.jpg,"dog, cat"\n', {"a.jpg": ["cat", "dog"]}),
        ("image;labels\na.jpg;dog,cat\n", {"a.jpg": ["cat", "dog"]}),
        ("image\tlabels\na,b.jpg\tdog,cat\n", {"a,b.jpg": ["cat", "dog"]}),
        ('image,labels\na.jpg,"[""dog, wet"", ""[x]""]"\n', {"a.jpg": ["[x]", "dog, wet"]}),
        ('image,labels\na.jpg,"[\'dog\', ""cat\'s""]"\n', {"a.jpg": ["cat's", "dog"]}),
        ("image,labels\na.jpg,dog||dog| \n", {"a.jpg": ["dog"]}),
        ("File_Name,id,Tags\na.jpg,7,dog\n", {"a.jpg": ["dog"]}),
        ("labels,path\ndog,a.jpg\n", {"a.jpg": ["dog"]}),
    ],
)
def test_lists_forms(tmp_path, text, expected):
    assert labels_of(read_table(write(tmp_path, text))) == expected


def test_lists_separator_is_one_for_the_file(tmp_path):
    text = 'image,labels\na.jpg,"salt, pepper"\nb.jpg,dog;cat\nc.jpg,"x|y, z"\n'
    annotations = read_table(write(tmp_path, text))
    assert labels_of(annotations) == {
        "a.jpg": ["salt, pepper"],
        "b.jpg": ["dog;cat"],
        "c.jpg": ["x", "y, z"],
    }
    assert annotations.notes == (
        "labels are separated by '|' (line 4) in all of photos.csv; ';' (line 3) and ',' (line 2) "
        "became part of labels; another separator can be given",
    )


def test_lists_separator_forced(tmp_path):
    path = write(tmp_path, 'image,labels\na.jpg,"x|y, [z]"\n')
    assert labels_of(read_table(path, ReadOptions(separator=","))) == {"a.jpg": ["[z]", "x|y"]}
    assert labels_of(read_table(path, ReadOptions(separator=" "))) == {"a.jpg": ["[z]", "x|y,"]}


def test_lists_tagger_output_reads_back(tmp_path):
    text = "image,labels,probabilities\na.jpg,dog|person,0.93|0.71\nb.jpg,,\n"
    annotations = read_table(write(tmp_path, text))
    assert labels_of(annotations) == {"a.jpg": ["dog", "person"], "b.jpg": []}
    assert annotations.format == "csv"
    assert annotations.lines is not None
    assert annotations.lines.tolist() == [2, 3]


def test_lists_unknown_split_and_vocabulary(tmp_path):
    text = (
        "image,labels,split,unknown,vocabulary\n"
        "a.jpg,dog,Validation,cat|cow,\n"
        'b.jpg,,fold 1,,"[""dog"", ""zebra"", ""cow"", ""cat""]"\n'
    )
    annotations = read_table(write(tmp_path, text))
    assert annotations.vocabulary.names == ("dog", "zebra", "cow", "cat")
    assert annotations.labels.dense().tolist() == [[1, 0, -1, -1], [0, 0, 0, 0]]
    assert annotations.splits == ("val", "fold 1")


def test_lists_labels_are_stripped_and_normalised(tmp_path):
    decomposed, composed = "cafe\u0301", "caf\u00e9"
    annotations = read_table(write(tmp_path, f"image,labels\na.jpg, {decomposed} |{composed}\n"))
    assert annotations.vocabulary.names == (composed,)
    assert labels_of(annotations) == {"a.jpg": [composed]}


def test_lists_case_is_kept(tmp_path):
    annotations = read_table(write(tmp_path, "image,labels\na.jpg,Dog\nb.jpg,dog\n"))
    assert annotations.vocabulary.names == ("Dog", "dog")


# --- one column per label ------------------------------------------------------------------------


def test_columns_values(tmp_path):
    text = ",image,dog,cat,cow,split\n0,a.jpg,1,0,-1,train\n1,b.jpg,1.0, 0.0 ,,val\n"
    annotations = read_table(write(tmp_path, text))
    assert annotations.vocabulary.names == ("cat", "cow", "dog")
    assert annotations.labels.dense().tolist() == [[0, -1, 1], [0, 0, 1]]
    assert annotations.splits == ("train", "val")
    note = "empty cells were read as absent in columns that never hold a 0: cow"
    assert annotations.notes == (note,)


def test_columns_empty_is_unknown_beside_a_zero(tmp_path):
    annotations = read_table(write(tmp_path, "image,dog,cat\na.jpg,1,0\nb.jpg,0,\nc.jpg,,1\n"))
    assert annotations.labels.dense().tolist() == [[0, 1], [-1, 0], [1, -1]]
    assert annotations.notes == ("empty cells were read as unknown: absent is written as 0",)


def test_minus_one_is_absent_in_a_table_without_any_zero(tmp_path):
    """As in CelebA's list of attributes."""
    annotations = read_table(
        write(tmp_path, "image,Bald,Male\na.jpg,1,-1\nb.jpg,-1,1\nc.jpg,,-1\n")
    )
    assert annotations.labels.dense().tolist() == [[1, 0], [0, 1], [-1, 0]]
    assert annotations.notes == (
        "-1 was read as absent: no cell holds a 0",
        "empty cells were read as unknown: absent is written as -1",
    )


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("['dog' 'cat']", ["cat", "dog"]),
        ("['dog'\n 'wild cat']", ["dog", "wild cat"]),
        ("['dog']", ["dog"]),
        ("('dog', 'cat')", ["cat", "dog"]),
        ("('dog',)", ["dog"]),
        ("{'dog', 'cat'}", ["cat", "dog"]),
        ("[5, 6]", ["5", "6"]),
        ('{"choices": ["dog", "cat"]}', ["cat", "dog"]),
        ("(o)_(o)|dog", ["(o)_(o)", "dog"]),  # no list
    ],
)
def test_lists_as_programs_write_them(tmp_path, cell, labels):
    quoted = cell.replace('"', '""')
    annotations = read_table(write(tmp_path, f'image,labels\na.jpg,"{quoted}"\n'))
    assert list(annotations.vocabulary) == labels
    assert annotations.labels.present_per_image().tolist() == [len(labels)]


def test_a_single_choice_of_label_studio_stands_without_braces(tmp_path):
    text = 'image,labels\na.jpg,dog\nb.jpg,"{""choices"": [""dog"", ""a, b""]}"\nc.jpg,\n'
    annotations = read_table(write(tmp_path, text))
    assert list(annotations.vocabulary) == ["a, b", "dog"]
    assert annotations.labels.dense().tolist() == [[0, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize("cell", ["nan", "NaN", "None", "NA", "N/A", "null", "<NA>"])
def test_words_for_nothing_are_empty_cells(tmp_path, cell):
    annotations = read_table(write(tmp_path, f"image,labels\na.jpg,dog\nb.jpg,{cell}\n"))
    assert list(annotations.vocabulary) == ["dog"]
    assert annotations.notes == (f"cells '{cell}' were read as empty: no label",)
    annotations = read_table(write(tmp_path, f"image,dog\na.jpg,1\nb.jpg,{cell}\n"))
    assert annotations.labels.dense().tolist() == [[1], [0]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_that_tells_excel_the_delimiter_is_no_header(tmp_path, end):
    lines = ["sep=;", "image;labels", "a.jpg;dog,cat", "b.jpg;dog"]
    annotations = read_table(write(tmp_path, end.join(lines)))
    assert list(annotations.vocabulary) == ["cat", "dog"]
    assert annotations.images == ("a.jpg", "b.jpg")
    assert annotations.place(1)[1] == 4


def test_columns_empty_is_absent_without_any_zero(tmp_path):
    annotations = read_table(write(tmp_path, "image,dog,cat\na.jpg,1,\nb.jpg,,1\n"))
    assert annotations.labels.dense().tolist() == [[0, 1], [1, 0]]
    assert annotations.notes == ("empty cells were read as absent: no cell holds a 0",)


def test_columns_full_table_has_no_note(tmp_path):
    assert read_table(write(tmp_path, "image,dog,cat\na.jpg,1,0\n")).notes == ()


@pytest.mark.parametrize("cell", ["2", "yes", "0.5", "-2", "nano"])
def test_columns_bad_cell(tmp_path, cell):
    path = write(tmp_path, f"image,dog,cat\na.jpg,1,0\nb.jpg,0,{cell}\n")
    assert error_of(path).startswith(
        f"photos.csv:3: column 'cat' holds '{cell}', which is not 1, 0, -1 or empty"
    )


# --- which column holds what ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["image_id", "ImageID", "Path", "Image Index", "img", "image-name", "filepath", "fname", "Id"],
)
def test_names_of_the_image_column(tmp_path, name):
    annotations = read_table(write(tmp_path, f"n,{name},labels\n1,a.jpg,dog\n"))
    assert labels_of(annotations) == {"a.jpg": ["dog"]}


@pytest.mark.parametrize("name", ["Finding Labels", "LabelName", "class", "Target", "category"])
def test_names_of_the_column_of_lists(tmp_path, name):
    annotations = read_table(write(tmp_path, f"image,{name}\na.jpg,dog|cat\nb.jpg,dog\n"))
    assert labels_of(annotations) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}
    annotations = read_table(write(tmp_path, f"image,{name}\na.jpg,1\nb.jpg,0\n"))
    assert labels_of(annotations) == {"a.jpg": [name], "b.jpg": []}


def test_no_image_column_is_refused_with_a_guess(tmp_path):
    text = "key,photograph,labels\n1,a.jpg,dog\n2,b.png,cat\n"
    assert error_of(write(tmp_path, text)).endswith(
        "and holds: key, photograph, labels; is 'photograph' the image?; `image_column` photograph"
    )


@pytest.mark.parametrize("name", ["label", "tags", "Label"])
def test_columns_a_label_may_be_called_label(tmp_path, name):
    annotations = read_table(write(tmp_path, f"image,{name},logo\na.jpg,1,0\nb.jpg,0,1\n"))
    assert labels_of(annotations) == {"a.jpg": [name], "b.jpg": ["logo"]}
    assert annotations.notes == (
        f"'{name.casefold()}' was read as the name of a label: it holds 1, 0 and -1 only",
    )


def test_lists_of_numbers_are_no_column_of_a_label(tmp_path):
    annotations = read_table(write(tmp_path, "image,label,split\na.jpg,1,train\nb.jpg,0,val\n"))
    assert labels_of(annotations) == {"a.jpg": ["1"], "b.jpg": ["0"]}


@pytest.mark.parametrize(
    "names", ["label,label2", "label_1,label_2", "Label 1,Label 2", "tag1,tag2"]
)
def test_lists_in_several_columns_are_joined(tmp_path, names):
    annotations = read_table(write(tmp_path, f"image,{names}\na.jpg,dog,cat|dog\nb.jpg,cow,\n"))
    assert labels_of(annotations) == {"a.jpg": ["cat", "dog"], "b.jpg": ["cow"]}
    assert annotations.notes == ()


def test_lists_columns_that_are_not_read_are_named(tmp_path):
    text = ",image,id,labels,probabilities,age\n0,a.jpg,1,dog,0.9,3\n"
    assert read_table(write(tmp_path, text)).notes == ("columns that were not read: id, age",)


def test_columns_of_other_values_are_left_out(tmp_path):
    text = "Unnamed: 0,Path,Sex,Age,dog\n0,a.jpg,F,1,1\n1,b.jpg,M,40,0\n2,c.jpg,F,41,1\n"
    annotations = read_table(write(tmp_path, text))
    assert annotations.vocabulary.names == ("dog",)
    note = "columns left out because they are no label's: Unnamed: 0, Sex, Age"
    assert annotations.notes == (note,)


def test_columns_of_one_label_with_a_mistake_are_an_error(tmp_path):
    path = write(tmp_path, "image,dog,cat\na.jpg,1,1\nb.jpg,0,1\nc.jpg,0,ja\n")
    assert error_of(path).startswith("photos.csv:4: column 'cat' holds 'ja'")


def test_columns_of_no_label_at_all_are_an_error(tmp_path):
    path = write(tmp_path, "image,age\na.jpg,33\nb.jpg,44\n")
    assert error_of(path) == (
        "photos.csv:1: expected a column 'labels', or columns of 1 and 0 for each label; the "
        "columns are: image, age"
    )
    path = write(tmp_path, "image,age,what\na.jpg,33,dog\nb.jpg,33,cat|dog\n")
    assert error_of(path).endswith(
        "the columns are: image, age, what; is 'what' the labels?; `labels_column` what"
    )


@pytest.mark.parametrize(
    ("column", "cells", "splits"),
    [
        ("is_valid", ["True", "False", "1", ""], ("val", "train", "val", "")),
        ("is_val", ["1", "0", "0", ""], ("val", "train", "train", "")),
        ("is_train", ["1", "0", "True", "0"], ("train", "val", "train", "val")),
        ("is_test", ["0", "0", "1", "0"], ("train", "train", "test", "train")),
        ("fold", ["0", "1", "2.0", "nan"], ("fold 0", "fold 1", "fold 2", "")),
        ("kfold", ["0", "1", "2", "0"], ("fold 0", "fold 1", "fold 2", "fold 0")),
        ("Partition", ["0", "1", "2", ""], ("partition 0", "partition 1", "partition 2", "")),
        ("set", ["train", "VALID", "holdout", "test"], ("train", "val", "val", "test")),
        ("subset", ["training", "extra", "", "dev"], ("train", "extra", "", "val")),
    ],
)
@pytest.mark.parametrize("labels", ["labels", "dog"])
def test_columns_that_name_splits(tmp_path, column, cells, splits, labels):
    rows = "".join(f"{row}.jpg,1,{cell}\n" for row, cell in enumerate(cells))
    annotations = read_table(write(tmp_path, f"image,{labels},{column}\n{rows}"))
    assert annotations.splits == splits
    assert annotations.vocabulary.names == ("1" if labels == "labels" else "dog",)
    without = splits.count("")
    note = f"images that are not used because they name no split: {without}"
    assert annotations.notes == ((note,) if without else ())


def test_several_columns_of_one_split_each_are_refused(tmp_path):
    path = write(tmp_path, "image,dog,is_train,is_test\na.jpg,1,1,0\nb.jpg,0,0,1\n")
    assert error_of(path) == (
        "photos.csv:1: several columns say which split an image is in: is_train, is_test; "
        "`split_column` is_train reads one; a column 'split' has room for all"
    )
    annotations = read_table(path, ReadOptions(split_column="is_test"))
    assert annotations.splits == ("train", "test")
    assert annotations.vocabulary.names == ("dog",)
    assert read_table(path, ReadOptions(ignore_columns="is_train")).splits == ("train", "test")


def test_columns_of_1_throughout_are_named(tmp_path):
    path = write(tmp_path, "image,dog,weight\na.jpg,1,1\nb.jpg,0,1\nc.jpg,0,1\n")
    assert read_labels(path).notes == ("labels that every image has: weight",)


def test_columns_without_a_name_that_hold_marks_are_noted(tmp_path):
    path = write(tmp_path, ",image,dog,,\n0,a.jpg,1,0,\n1,b.jpg,0,1,\n")
    annotations = read_table(path)
    assert annotations.vocabulary.names == ("dog",)
    assert annotations.notes == ("columns without a name were not read: 4",)


def test_bars_may_stand_between_cells(tmp_path):
    path = write(tmp_path, "image|labels\na.jpg|dog,cat\nb.jpg|dog\n")
    assert labels_of(read_table(path)) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}


def test_a_tsv_file_with_commas_is_refused(tmp_path):
    path = write(tmp_path, "image,labels\na.jpg,dog\n", name="photos.tsv")
    with pytest.raises(AnnotationError) as caught:
        read_labels(path)
    assert str(caught.value) == (
        f"{path}:1: its cells are separated by ',', not by tabs; `format` csv reads it so"
    )
    assert read_labels(path, format="csv").vocabulary.names == ("dog",)


@pytest.mark.parametrize(("count", "noted"), [(2, False), (3, True)])
def test_the_count_of_a_list_of_attributes_is_checked(tmp_path, count, noted):
    path = write(tmp_path, f"{count}\ndog cat\na.jpg 1 -1\nb.jpg -1 1\n", name="list.txt")
    note = "the first line counts 3 images, and there are 2"
    assert (note in read_labels(path).notes) == noted


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_in_utf16_without_its_mark(tmp_path, encoding):
    text = "image,labels\na.jpg,caf\u00e9|\u72ac\n"
    path = write(tmp_path, text, encoding=encoding)
    assert read_table(path).vocabulary.names == ("caf\u00e9", "\u72ac")


def test_notes_are_one_line_each(tmp_path):
    path = write(tmp_path, 'image,labels\na.jpg,"wild\tcat"\nb.jpg,wild\nc.jpg,cat\n')
    assert "as in 'wild cat'" in read_table(path).notes[0]


def test_columns_of_a_second_split_are_named(tmp_path):
    annotations = read_table(
        write(tmp_path, "image,fold,dog,split\na.jpg,1,1,train\nb.jpg,2,0,val\n")
    )
    assert annotations.splits == ("train", "val")
    assert annotations.vocabulary.names == ("dog",)
    assert annotations.notes == ("columns left out because they are no label's: fold",)


@pytest.mark.parametrize("column", ["set", "subset", "partition"])
def test_columns_of_marks_are_labels(tmp_path, column):
    annotations = read_table(write(tmp_path, f"image,dog,{column}\na.jpg,1,0\nb.jpg,0,1\n"))
    assert annotations.vocabulary.names == ("dog", column)


def test_paths_with_a_dot_are_the_same_image(tmp_path):
    path = write(tmp_path, "image,labels\n./p/./a.jpg,x\n../b.jpg,x\np/a.jpg,x\n")
    message = "photos.csv:4: image 'p/a.jpg' is already on line 2; each image may have only one row"
    assert error_of(path).startswith(message)
    path = write(tmp_path, "image,labels\n./p/./a.jpg,x\n../b.jpg,x\n")
    assert read_table(path).images == ("p/a.jpg", "../b.jpg")


# --- several rows for an image -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Confidence", "confidence"])
def test_rows_with_a_confidence(tmp_path, name):
    """As in Open Images."""
    rows = "a,dog,1\nb,cow,0\na,cat,0.0\nb,cat,1\nc,dog,0\n./a,dog,1.0\n"
    annotations = read_table(write(tmp_path, f"ImageID,LabelName,{name}\n{rows}"))
    assert annotations.images == ("a", "b", "c")
    assert annotations.vocabulary.names == ("cat", "cow", "dog")
    assert annotations.labels.dense().tolist() == [[0, -1, 1], [1, 0, -1], [-1, -1, 0]]
    assert annotations.lines is not None
    assert annotations.lines.tolist() == [2, 3, 6]
    assert annotations.notes == (
        f"'{name}' 1 was read as present and 0 as absent; labels that no row of an image names are "
        "unknown in it",
    )


def test_rows_with_a_confidence_that_is_always_1(tmp_path):
    path = write(tmp_path, "image,label,confidence\na,dog,1\nb,cat,1\n")
    assert read_table(path).labels.dense().tolist() == [[0, 1], [1, 0]]


def test_rows_that_contradict_each_other(tmp_path):
    path = write(tmp_path, "image,label,confidence\na,cat,1\nb,cat,1\nb,cat,0\n")
    assert error_of(path) == (
        "photos.csv:3: label 'cat' is present in a row of image 'b' and absent in one"
    )


def test_rows_are_joined_on_demand(tmp_path):
    text = "image,label,unknown,split\na.jpg,dog,cat,val\nb.jpg,,,val\na.jpg,cat,cow,Valid\n"
    annotations = read_table(write(tmp_path, text), ReadOptions(join_rows=True))
    assert annotations.vocabulary.names == ("cat", "cow", "dog")
    assert annotations.labels.dense().tolist() == [[1, -1, 1], [0, 0, 0]]
    assert annotations.splits == ("val", "val")
    path = write(tmp_path, text.replace("Valid", "train"))
    with pytest.raises(AnnotationError, match=r"is in split .train., and in .val. on line 2"):
        read_table(path, ReadOptions(join_rows=True))


def test_rows_joined_agree_with_single_ones(tmp_path):
    rng = np.random.default_rng(0)
    dense = rng.choice([1, 0], size=(60, 5))
    single = "".join(
        f"{i},{'|'.join(f'l{c}' for c in row.nonzero()[0])}\n" for i, row in enumerate(dense)
    )
    pairs = [(i, f"l{c}") for i, row in enumerate(dense) for c in row.nonzero()[0]]
    pairs += [(i, "") for i, row in enumerate(dense) if not row.any()]
    several = "".join(f"{i},{name}\n" for i, name in sorted(pairs, key=lambda pair: pair[0]))
    first = read_table(write(tmp_path, f"image,labels\n{single}"))
    second = read_table(write(tmp_path, f"image,labels\n{several}"), ReadOptions(join_rows=True))
    assert second.images == first.images
    np.testing.assert_array_equal(second.labels.dense(), first.labels.dense())


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_text_encodings_and_line_ends(tmp_path, encoding, end):
    lines = ["image,labels", "caf\u00e9.jpg,\u00fcber|dog", "", "b.jpg,"]
    annotations = read_table(write(tmp_path, end.join(lines) + end, encoding=encoding))
    assert labels_of(annotations) == {"caf\u00e9.jpg": ["dog", "\u00fcber"], "b.jpg": []}
    assert annotations.lines is not None
    assert annotations.lines.tolist() == [2, 4]
    windows = encoding in ("cp1252", "latin-1")
    note = "photos.csv is not UTF-8 and was read as Windows-1252 text"
    assert annotations.notes == ((note,) if windows else ())


def test_text_utf8_found_beyond_the_first_chunk(tmp_path):
    rows = "".join(f"{i:06d}.jpg,dog\n" for i in range(80_000))  # more than a chunk of 1 MiB
    path = write(tmp_path, f"image,labels\n{rows}z.jpg,\u20ac\n")
    assert read_table(path).vocabulary.names == ("dog", "\u20ac")


def test_text_lines_stay_right_after_newlines_in_cells(tmp_path):
    text = 'image,labels\n"a\nb\r\nc.jpg",dog\nd.jpg,1,2\n'
    assert error_of(write(tmp_path, text)).startswith("photos.csv:5: 3 cells")
    annotations = read_table(write(tmp_path, text.replace(",1,2", ",1")))
    assert annotations.images == ("a\nb\r\nc.jpg", "d.jpg")
    assert annotations.lines is not None
    assert annotations.lines.tolist() == [2, 5]


def test_text_rows_without_content_are_skipped(tmp_path):
    assert len(read_table(write(tmp_path, "image,labels\n\na.jpg,dog\n,\n,\n"))) == 1


def test_text_long_cell(tmp_path):
    names = [f"label number {i}" for i in range(10_000)]
    annotations = read_table(write(tmp_path, f"image,labels\na.jpg,{'|'.join(names)}\n"))
    assert annotations.labels.shape == (1, 10_000)
    assert annotations.labels.present_per_image().tolist() == [10_000]


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "photos.csv: the file is empty"),
        ("image,labels\n", "photos.csv: names no image; expected an entry for each"),
        (
            "a.jpg\nb.jpg\n",
            "photos.csv:1: no column is called image, file_name, filename, path or file; the first "
            "line must name the columns, and holds: a.jpg",
        ),
        (
            "image\na.jpg\n",
            "photos.csv:1: expected a column 'labels', or columns of 1 and 0 for each label; the "
            "columns are: image",
        ),
        (
            "image,dog, dog\na.jpg,1,0\n",
            "photos.csv:1: two columns are called 'dog'; rename or remove one",
        ),
        (
            "image,labels\na.jpg,dog\nimage,labels\nb.jpg,cat\n",
            "photos.csv:3: the header stands here again, as where files were joined; remove the "
            "line",
        ),
        ("image,labels\na.jpg\n", "photos.csv:2: 1 cell where the header names 2"),
        (
            "image,labels\na.jpg,dog,cat\n",
            "photos.csv:2: 3 cells where the header names 2; a cell that holds the delimiter must "
            "stand in double quotes",
        ),
        (
            "image,labels\na.jpg,x\nb.jpg,y\na.jpg,z\n",
            "photos.csv:4: image 'a.jpg' is already on line 2; each image may have only one row; "
            "`join_rows` joins the rows of an image",
        ),
        ("image,labels\n,dog\n", "photos.csv:2: the image's path is empty"),
        (
            'image,labels\na.jpg,dog\nb.jpg,"cat\nc.jpg,cow\n',
            "photos.csv:3: a quoted cell begins in this row and is never closed",
        ),
        (
            'image,labels\na.jpg,"dog" x\n',
            "photos.csv:2: the quotes in this row do not match (',' expected after '\"')",
        ),
        (
            "image,labels,unknown\na.jpg,dog|cat,cow|cat\n",
            "photos.csv:2: label 'cat' is both present and unknown",
        ),
        (
            'image,labels\na.jpg,"[""dog"""\n',
            "photos.csv:2: '[\"dog\"' is no list of labels (Expecting ',' delimiter at character "
            "7); where one cell begins as a list, all are read as lists unless a separator is "
            "given",
        ),
        (
            'image,labels\na.jpg,"[1.5, 2]"\n',
            "photos.csv:2: '[1.5, 2]' is no list of labels; where one cell begins as a list, all "
            "are read as lists unless a separator is given",
        ),
        (
            'image,labels,vocabulary\na.jpg,dog,\nb.jpg,catt,"[""dog"", ""cat""]"\n',
            "photos.csv:3: label 'catt' is not in the vocabulary; did you mean 'cat'?",
        ),
        (
            'image,labels,vocabulary\na.jpg,a,"[""a""]"\nb.jpg,,"[""b""]"\n',
            "photos.csv:3: the vocabulary differs from that on line 2",
        ),
        (
            'image,labels,vocabulary\na.jpg,a,"[""a"", ""a""]"\n',
            "photos.csv:2: label 'a' is in the vocabulary twice",
        ),
        (
            'image,labels\na.jpg,"[""dog"", ""caf\\udce9""]"\n',
            "photos.csv: label 'caf\\udce9' is not valid text (undecodable bytes, a lone surrogate "
            "or NUL)",
        ),
        ("image,labels\na\0.jpg,dog\n", "photos.csv:2: a NUL character; this is not a text file"),
    ],
)
def test_errors_name_the_line(tmp_path, text, message):
    assert error_of(write(tmp_path, text)) == message


def test_errors_of_depth_are_of_a_line(tmp_path):
    message = error_of(write(tmp_path, f"image,labels\na.jpg,{'[' * 200_000}\n"))
    assert message.startswith("photos.csv:2: '[[[") and "(nested too deeply)" in message


def test_lists_with_an_escape_that_python_does_not_know(tmp_path):
    path = write(tmp_path, "image,labels\na.jpg,\"['dog', 'a\\d']\"\n")
    assert read_table(path).vocabulary.names == ("a\\d", "dog")


def test_errors_binary_file(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_bytes(b"\xff\xd8\xff\xe0\x81\x8d")
    assert error_of(path) == "photos.csv: is not text in UTF-8, UTF-16 or Windows-1252"


def test_errors_no_such_file(tmp_path):
    assert error_of(tmp_path / "photos.csv") == "photos.csv: no such file or folder"


def test_errors_separator_for_columns(tmp_path):
    message = error_of(write(tmp_path, "image,dog\na.jpg,1\n"), separator="|")
    assert message.startswith("photos.csv:1: has one column per label")


def test_reading_agrees_with_a_plain_loop(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"label {i}" for i in range(12)]
    dense = rng.choice([1, 0, 0, 0], size=(300, 12))
    lists, columns = tmp_path / "lists.csv", tmp_path / "columns.csv"
    with lists.open("w", newline="") as first, columns.open("w", newline="") as second:
        list_rows, column_rows = csv.writer(first), csv.writer(second)
        list_rows.writerow(["image", "labels"])
        column_rows.writerow(["image", *reversed(names)])
        for row, values in enumerate(dense):
            present = [names[i] for i in rng.permutation(12) if values[i]]
            list_rows.writerow([f"{row}.jpg", "|".join(present)])
            column_rows.writerow([f"{row}.jpg", *values[::-1]])
    order = np.argsort(names)
    for path in (lists, columns):
        annotations = read_table(path)
        assert annotations.vocabulary.names == tuple(sorted(names))
        np.testing.assert_array_equal(annotations.labels.dense(), dense[:, order])


words = ["image", "labels", "split", "unknown", "vocabulary", "dog", "a.jpg", "0", "1", "-1"]
words += ["label", "label2", "tags", "fold", "set", "is_valid", "confidence", "a_b", "train", "x y"]
marks = [*',,|;\n\n\r\t"[]{}: \xe9', "\r\n"]
fragments = st.lists(st.sampled_from(words + marks), max_size=30).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from(
        [
            "",
            "image,labels\n",
            "image,dog,cat\n",
            "image,label,confidence\n",
            "ImageID,fold,label1,label2,is_valid\n",
            "a.jpg,dog\n",
            "a.jpg 1 0 1\n",
            "2\ndog cat\na.jpg 1 -1\n",
            '{"image": "a", "labels": ',
        ]
    ),
    rest=fragments,
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]),
)
def test_any_text_is_read_or_refused(tmp_path_factory, start, rest, encoding):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((start + rest).encode(encoding))
    told = ReadOptions(ignore_columns="split", blank="unknown", minus_one="absent")
    for read in (
        read_table,
        partial(read_table, options=ReadOptions(join_rows=True)),
        partial(read_table, options=told),
        read_jsonl,
    ):
        try:
            annotations = read(path)
        except AnnotationError as error:
            assert str(error).startswith(str(path))
        else:
            assert annotations.labels.shape == (len(annotations), len(annotations.vocabulary))
            assert len(annotations.splits) == len(annotations) > 0
