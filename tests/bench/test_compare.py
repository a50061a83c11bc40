"""Two versions of a clip side by side, against what is known of them."""

import numpy as np
import pytest

from omnisync_core.bench.compare import compare
from omnisync_core.errors import InputError


def compared(pairs):
    found = compare(pairs)
    return {label: value for label, value, by in found.rows if by == "this project"}, found


def test_equal_pictures_are_equal():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 64, 80, 3), dtype=np.uint8)
    values, found = compared((picture, picture) for picture in pictures)
    assert values["equal frames, %"] == 100
    assert values["largest difference, of 255"] == 0
    assert abs(values["SSIM of the grey pictures"] - 1) < 1e-6
    assert values["edges over the reference's"] == 1
    assert found.picture.dtype == np.uint8
    assert found.picture.shape[1:] == (1280, 3)


def test_a_shift_of_levels_is_told_as_it_is():
    grey = np.full((4, 64, 64, 3), 100, np.uint8)
    other = grey.copy()
    other[2:] += 6
    values, found = compared(zip(other, grey, strict=True))
    assert values["equal frames, %"] == 50
    assert values["largest difference, of 255"] == 6
    assert abs(values["root of the mean square, of 255"] - 6 / np.sqrt(2)) < 1e-9
    assert "| equal frames, % | 50 | this project |" in found.markdown()


def test_what_is_missing_is_named_with_its_place():
    grey = np.full((1, 64, 64, 3), 100, np.uint8)
    _, found = compared(zip(grey, grey, strict=True))
    assert any(line.startswith("niqe: needs") for line in found.lacking)
    assert any("CC BY-NC-SA" in line for line in found.lacking)


def test_what_cannot_be_compared_is_told():
    with pytest.raises(InputError, match="no frames to compare"):
        compare([])
    with pytest.raises(InputError, match="different sizes: 64 x 32 and 32 x 32"):
        compare([(np.zeros((32, 64, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))])
