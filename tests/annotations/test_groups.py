from dataclasses import replace

import pytest

from twlcli.annotations.detect import read_labels
from twlcli.annotations.groups import parted_groups, with_note_of_parted_groups
from twlcli.errors import AnnotationError

TABLE = """image,labels,who,split
a.jpg,dog,p2,train
b.jpg,dog,p1,train
c.jpg,cat,p1,val
d.jpg,cat,p2,
e.jpg,cat,p3,val
f.jpg,cat,,val
g.jpg,cat,p3,test
"""


def write(tmp_path, text):
    path = tmp_path / "photos.csv"
    path.write_text(text)
    return path


def test_groups_that_a_split_parts_are_said(tmp_path):
    annotations = read_labels(write(tmp_path, TABLE), group_column="who")
    assert annotations.groups == ("p2", "p1", "p1", "p2", "p3", "", "p3")
    assert parted_groups(annotations) == ("p1", "p3")
    note = "groups that lie in several splits: 2, such as 'p1'"
    assert annotations.notes[-1] == note
    mended = replace(annotations, splits=("val",) * 7)
    assert note not in with_note_of_parted_groups(mended).notes
    without = read_labels(tmp_path / "photos.csv")
    assert without.groups == parted_groups(without) == ()


def test_groups_of_rows_that_are_joined(tmp_path):
    path = write(tmp_path, "image,label,who\na.jpg,dog,1\na.jpg,cat,1\nb.jpg,cat,2\n")
    assert read_labels(path, join_rows=True, group_column="who").groups == ("1", "2")
    path = write(tmp_path, "image,label,who\na.jpg,dog,1\na.jpg,cat,2\n")
    with pytest.raises(
        AnnotationError, match=r"csv:3: image 'a.jpg' is in group '2', and in '1' on"
    ):
        read_labels(path, join_rows=True, group_column="who")
