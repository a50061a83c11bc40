"""The figure of a training's curves: read from its log, whatever happened to it, and drawn."""

import json

import numpy as np
import pytest

from omnisync_core.errors import InputError
from scripts import training_curves


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_training_that_went_on_is_one_curve(tmp_path):
    log = tmp_path / "a.jsonl"
    write(
        log, [{"step": step, "loss": 9.0} for step in (0, 20, 40)] + [{"step": step, "loss": 1.0} for step in (20, 40)]
    )
    write(tmp_path / "a_unseen.jsonl", [{"step": 10, "loss": 3.0}, {"step": 40, "loss": 2.0}])
    curve = training_curves.read(f"A training={log}")
    assert curve.title == "A training"
    assert curve.steps_N.tolist() == [0, 20, 40]
    assert curve.values_N.tolist() == [9, 1, 1]
    assert curve.unseen_M2.tolist() == [[10, 3], [40, 2]]
    for wrong in (f"A={log}:psnr", f"A={tmp_path}/none.jsonl"):
        with pytest.raises(InputError):
            training_curves.read(wrong)


def test_a_fall_is_drawn_as_one(tmp_path):
    """The bold line's middle is higher (smaller y) on the left than on the right."""
    write(tmp_path / "a.jsonl", [{"step": step, "loss": 1 - step / 200} for step in range(0, 101, 5)])
    pixels = training_curves.draw([training_curves.read(f"A={tmp_path / 'a.jsonl'}")]).pixels
    bold = (np.abs(pixels.astype(int) - training_curves.RESULT) < 3).all(-1)
    rows, columns = np.nonzero(bold)
    third = np.ptp(columns) / 3
    assert rows[columns < columns.min() + third].mean() < rows[columns > columns.max() - third].mean() - 20
