from twlcli.annotations.detect import read_labels


def test_roboflows_tables_of_splits(tmp_path):
    for split, cells in (("train", "1, 0"), ("valid", "1, 1"), ("test", "0, 1")):
        (tmp_path / split).mkdir()
        table = f"filename, cat, dog\n{split}.jpg, {cells}\n"
        (tmp_path / split / "_classes.csv").write_text(table)
    annotations = read_labels(tmp_path)
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.images == ("train/train.jpg", "valid/valid.jpg", "test/test.jpg")
    assert annotations.splits == ("train", "val", "test")
    assert annotations.labels.dense().tolist() == [[1, 0], [1, 1], [0, 1]]


def test_folders_in_one_file_are_splits(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("file_name,labels\ntrain/a.jpg,x\nvalidation/b.jpg,y\nTest/c.jpg,\n")
    assert read_labels(tmp_path).splits == ("train", "val", "test")
    path.write_text("file_name,labels\ntrain/a.jpg,x\nb.jpg,y\n")
    assert read_labels(tmp_path).splits == ("", "")
    path.write_text("file_name,labels,split\ntrain/a.jpg,x,val\ntrain/b.jpg,y,train\n")
    assert read_labels(tmp_path).splits == ("val", "train")


def test_columns_that_differ_are_noted(tmp_path):
    for split, label in (("train", "dog"), ("valid", "eel")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_classes.csv").write_text(f"filename, cat, {label}\na.jpg, 1, 0\n")
    assert read_labels(tmp_path).notes == (
        f"labels that {tmp_path}/train/_classes.csv does not know are absent from its images: eel",
        f"labels that {tmp_path}/valid/_classes.csv does not know are absent from its images: dog",
    )
