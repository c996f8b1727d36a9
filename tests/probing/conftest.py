import csv

import pytest

BACKBONE = "resnet18"  # of few and simple layers: it is exported in a third of the time


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
