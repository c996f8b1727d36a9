"""Drawn features of images with labels."""

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.labels import LabelMatrix, Vocabulary
from twlcli.probing.linear import Part


def classes_and_features(images, *, features=12, classes=4, noise=2.0, seed=0):
    """One class for each image (N,), and features (N, D) that tell it more or less."""
    generator = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(classes, features))
    of_images = np.arange(images) % classes
    drawn = means[of_images] + noise * generator.normal(size=(images, features)) + 3
    return of_images, drawn.astype(np.float32)


def annotations_of(targets, *, split="train"):
    from pathlib import Path

    count, labels = targets.shape
    return Annotations(
        source=Path("drawn.csv"),
        format="csv",
        root=Path(),
        images=tuple(f"{split}/{number:05d}.jpg" for number in range(count)),
        labels=LabelMatrix.from_dense(targets.astype(np.int8)),
        vocabulary=Vocabulary(tuple(f"label {number}" for number in range(labels))),
        splits=(split,) * count,
    )


def part_of(images, *, split="train", seed=0, **drawn):
    of_images, features = classes_and_features(images, seed=seed, **drawn)
    targets = np.eye(of_images.max() + 1)[of_images]
    return Part(annotations_of(targets, split=split), features)


def multi_part_of(images, *, split="train", seed=0):
    """Labels that overlap: the class, the next one for every third image, and some unknown."""
    of_images, features = classes_and_features(images, seed=seed)
    targets = np.eye(4)[of_images]
    targets[::3] += np.eye(4)[(of_images[::3] + 1) % 4]
    targets[::7, 0] = -1
    return Part(annotations_of(targets, split=split), features)
