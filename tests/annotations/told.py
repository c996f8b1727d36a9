"""What a label file says, as tests compare it."""

from pathlib import Path
from typing import Any

import pytest

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.detect import read_labels
from twlcli.errors import AnnotationError


def labels_of(annotations: Annotations) -> dict[str, list[str]]:
    """The labels present in each image."""
    names = annotations.vocabulary.names
    return {
        image: [names[column] for column in annotations.labels.present(row)]
        for row, image in enumerate(annotations.images)
    }


def error_of(path: Path, **options: Any) -> str:
    """Why a label file is refused, without the path of its folder."""
    with pytest.raises(AnnotationError) as caught:
        read_labels(path, **options)
    return str(caught.value).removeprefix(f"{path.parent}/")
