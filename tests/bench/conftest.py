"""Small clips on disk for benches."""

import csv

import numpy as np
import pytest

from omnisync_core.bench import registry
from omnisync_core.bench import run as bench
from omnisync_core.bench.measure import Column, Metric, WeightFile
from omnisync_core.synth.clips import write_video, write_wave
from tests.bench.benches import Brightness


@pytest.fixture
def clips(tmp_path):
    """A list of three clips of 20 frames, 64 x 48: red squares that grow on noise; the last one has a truth."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(3):
        frames = rng.integers(60, 120, (20, 48, 64, 3), dtype=np.uint8)
        for at in range(20):
            frames[at, 30 : 31 + at % 8, 24:40] = (200, 30, 30)
        write_video(tmp_path / f"v{number}.mkv", frames, 25)
        write_wave(tmp_path / f"s{number}.wav", rng.normal(0, 0.1, 12800).astype(np.float32))
        truth = f"v{number}.mkv" if number == 2 else ""
        rows.append([f"clip {number}", f"v{number}.mkv", f"s{number}.wav", truth, 32, 34])
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "video", "audio", "truth", "mouth_x", "mouth_y"], *rows])
    return tmp_path


@pytest.fixture
def seen(monkeypatch):
    """Two metrics in the place of heavy ones: one that works, one whose file is not there."""
    began = []
    absent = WeightFile("absent.bin", "example.org/weights", "MIT")
    stand_ins = {
        "fvd": Metric("fvd", (Column("fvd", "FVD"),), lambda folder, device: Brightness(began)),
        "lmd": Metric("lmd", (Column("lmd", "level", "", 1),), lambda folder, device: Brightness(began)),
        "csim": Metric("csim", (Column("csim", "CSIM"),), lambda folder, device: absent.find(folder), files=(absent,)),
    }
    monkeypatch.setattr(registry, "METRICS", {**registry.METRICS, **stand_ins})
    monkeypatch.setattr(bench, "write_sheet", lambda *_: None)  # drawn in a test of its own
    return began
