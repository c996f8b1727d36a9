from pathlib import Path

from twlcli.annotations.detect import read_labels


def test_records_are_plain_rows_of_names(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,unknown,split\nb.jpg,dog|cat,sun,train\n/c/d.jpg,,,\n")
    annotations = read_labels(table)
    assert annotations.records() == [
        {
            "image": str(tmp_path / "b.jpg"),
            "labels": ("cat", "dog"),
            "unknown": ("sun",),
            "split": "train",
        },
        {"image": str(Path("/c/d.jpg")), "labels": (), "unknown": (), "split": ""},
    ]
