"""Crops as arrays."""

from pathlib import Path

import numpy as np
from PIL import Image

from twlcli.images.decoding import Decoding
from twlcli.images.preprocess import cropped, load_crop
from twlcli.model.preprocessing import Preprocessing


def load(path: Path, preprocessing: Preprocessing, *, exact: bool = False) -> np.ndarray:
    return np.array(load_crop(path, None, preprocessing, decoding=Decoding(exact)))


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    return np.array(cropped(image, preprocessing))
