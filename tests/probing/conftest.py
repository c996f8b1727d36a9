import csv

import pytest

BACKBONE = "shufflenet_v2_x0_5"


@pytest.fixture(scope="session")
def one_colour(photographs, tmp_path_factory):
    """The photographs as a set with one label each: the first of their colours."""
    with photographs.open() as file:
        rows = list(csv.DictReader(file))
    table = tmp_path_factory.mktemp("one-colour") / "one.csv"
    lines = [
        f"{photographs.parent / r['image']},{r['labels'].split('|')[0]},{r['split']}" for r in rows
    ]
    table.write_text("\n".join(["image,labels,split", *lines]) + "\n")
    return table


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")
