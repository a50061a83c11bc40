"""Encoded windows: what is written is read, pairs are by rule, and what is broken is named."""

from dataclasses import replace

import numpy as np
import pytest

from omnisync_core.errors import InputError
from omnisync_core.training.sized.windows import Windows, write_encoding, write_windows
from tests.training.sized import small

pytest.importorskip("pyarrow")


def test_what_is_written_is_read(tmp_path):
    windows = Windows(small.write_set(tmp_path / "set"), "train")
    assert len(windows) == 12
    assert windows.encoding == small.encoding()
    wanted = small.rows("bob")[1]
    read = windows.read([row["id"] for row in windows.rows].index("bob@1"))
    np.testing.assert_allclose(read["latent"], wanted.latent, atol=2e-3)
    np.testing.assert_allclose(read["speech"], wanted.speech, atol=2e-3)
    assert read["mouth"].shape == small.MOUTH
    assert windows.captions == ["A person speaks."]


def test_pairs_by_rule(tmp_path):
    windows, rng = Windows(small.write_set(tmp_path / "set"), "train"), np.random.default_rng(0)
    poses = set()
    for pseudo in (True, False):
        for _ in range(60):
            target, source = (windows.rows[number] for number in windows.pair(pseudo, rng))
            assert target["id"] != source["id"]
            assert target["person"] == source["person"]
            assert not pseudo or target["pose"] == source["pose"]
            poses.add((pseudo, target["pose"] == source["pose"]))
    assert poses == {(True, True), (False, True), (False, False)}


def test_a_changed_clip_is_never_what_is_to_be_made(tmp_path):
    true, *others = small.rows("anna", pose="one")
    write_encoding(tmp_path, small.encoding())
    write_windows(tmp_path / "train_0.parquet", [true, *(replace(row, truth=False) for row in others)])
    windows, rng = Windows(tmp_path, "train"), np.random.default_rng(0)
    drawn = [windows.pair(pseudo, rng) for pseudo in (True, False) for _ in range(20)]
    assert {target for target, _ in drawn} == {0}
    assert {source for _, source in drawn} == {1, 2, 3}


def test_what_is_wrong_is_one_line(tmp_path):
    with pytest.raises(InputError, match="holds no encoded windows"):
        Windows(tmp_path, "train")
    folder = small.write_set(tmp_path / "set")
    with pytest.raises(InputError, match="another VAE, Whisper or size"):
        write_encoding(folder, replace(small.encoding(), crop_size=64))
    with pytest.raises(InputError, match="no windows to learn on"):
        Windows(folder, "learn")
    alone = tmp_path / "alone"
    write_encoding(alone, small.encoding())
    write_windows(alone / "train_0.parquet", small.rows("anna", 1))
    with pytest.raises(InputError, match="no pseudo-pairs: no two of its 1 windows share person and pose"):
        Windows(alone, "train").check(True, False)
    with pytest.raises(InputError, match="no person with two windows"):
        Windows(alone, "train").check(False, True)
    cut = folder / "train_1.parquet"
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(InputError, match="is cut off or no Parquet") as error:
        Windows(folder, "train")
    assert str(cut) in str(error.value)
    assert "\n" not in str(error.value)
