"""The contact sheet: what its tiles show is the mouth, wherever it is known from."""

import json

import cv2
import numpy as np
import pytest

from omnisync_core.bench import sheet
from omnisync_core.bench.sheet import EDGE, FRAME, GAP, MOMENTS, TILE, TOP, write_sheet
from omnisync_core.errors import InputError
from omnisync_core.synth.clips import write_video

COUNT, WIDTH, HEIGHT, MOUTH = 20, 128, 96, 8
COLORS = {"source": (40, 60, 200), "result": (220, 50, 40), "truth": (30, 170, 60)}


@pytest.fixture
def record(tmp_path):
    """A drawn clip whose mouth, a square on noise, wanders; each video paints it otherwise."""
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.integers(90, 140, (1, HEIGHT, WIDTH, 1), dtype=np.uint8), 3, axis=-1)
    corners = [(20 + 4 * at, 70 - at) for at in range(COUNT)]
    for name, color in COLORS.items():
        frames = np.repeat(noise, COUNT, axis=0)
        for frame, (x, y) in zip(frames, corners, strict=True):
            frame[y : y + MOUTH, x : x + MOUTH] = color
        write_video(tmp_path / f"{name}.mkv", frames, 25)
    centers = [(x + MOUTH / 2, y + MOUTH / 2) for x, y in corners]
    label = {"mouth_center_xy": centers, "mouth_width": MOUTH}
    (tmp_path / "mouth.json").write_text(json.dumps(label), encoding="utf-8")
    return {
        "id": "one", "number": 1, "video": str(tmp_path / "source.mkv"), "audio": str(tmp_path / "sound.wav"),
        "truth": str(tmp_path / "truth.mkv"), "made": {"path": str(tmp_path / "result.mkv")}, "job": {"mouth": None},
        "metrics": {"drawn": {"values": {"share": 0.5, "outside": 0.0}}},
    }  # fmt: skip


def tiles_of(path, rows=3):
    """Rows of tiles, RGB."""
    page = cv2.imread(str(path))[..., ::-1]
    left = EDGE + FRAME[0] + GAP
    return [
        [page[TOP + row * (TILE + GAP) :, left + at * (TILE + GAP) :][:TILE, :TILE] for at in range(MOMENTS)]
        for row in range(rows)
    ]


def test_each_tile_shows_the_mouth_of_its_video_and_moment(record, tmp_path):
    write_sheet(tmp_path / "sheet.png", [record], "mini")
    side = round(TILE * MOUTH / (sheet.MOUTHS * MOUTH))
    inner = slice(TILE // 2 - side // 4, TILE // 2 + side // 4)
    for row, color in zip(tiles_of(tmp_path / "sheet.png"), COLORS.values(), strict=True):
        for tile in row:
            assert np.abs(tile[inner, inner].mean((0, 1)) - color).max() < 12
            painted = np.abs(tile.astype(int) - color).max(-1) < 40
            assert painted.mean() == pytest.approx(1 / sheet.MOUTHS**2, rel=0.25), "large enough to judge"


def test_where_no_mouth_is_known_what_changed_is_shown(record, tmp_path, monkeypatch):
    def unknown(_):
        raise InputError("nobody is there")

    monkeypatch.setattr(sheet.Clip, "track", property(unknown))
    write_sheet(tmp_path / "sheet.png", [record | {"truth": None}], "mini")
    _, result = tiles_of(tmp_path / "sheet.png", rows=2)
    for tile in result:
        red = np.abs(tile.astype(int) - COLORS["result"]).max(-1) < 40
        assert 0.004 < red.mean() < 0.03, "the whole way of the mouth, and no more: 76 of 96 x 128"


def test_the_square_that_holds_what_changed():
    source = [np.full((60, 100, 3), 100, np.uint8)] * 2
    result = [picture.copy() for picture in source]
    result[0][10:30, 50:90] += 20
    result[1][:] += sheet.CHANGED - 1
    assert sheet._changed(source, result) == pytest.approx((69.5, 19.5, 1.1 * 39), abs=1)
    assert sheet._changed(source, source) == (50, 30, 60)
    result[0][:], result[0][7, 9] = 100, 200
    assert sheet._changed(source, result) == (9, 7, sheet.LEAST)
