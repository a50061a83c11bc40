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


def cut_off(path, whole):
    path.write_bytes(whole[:-40])


def cut_short(path, whole):
    path.write_bytes(whole[:1000])


def emptied(path, whole):
    path.write_bytes(b"")


def other_columns(path, whole):
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist([{"id": "a"}]), path)


def names_gone(path, whole):
    """As after a copy that left a hole, which the end of the file does not show."""
    assert whole.count(b"carla@2") == 1
    path.write_bytes(whole.replace(b"carla@2", b"\0\0\0\0\0\0\0"))


@pytest.mark.parametrize("damage", [cut_off, cut_short, emptied, other_columns, names_gone])
def test_a_damaged_shard_is_named(tmp_path, damage):
    folder = small.write_set(tmp_path / "set")
    shard = folder / "train_1.parquet"
    damage(shard, shard.read_bytes())
    with pytest.raises(InputError, match=r"is cut off, damaged or no windows .* run `prepare` again") as error:
        Windows(folder, "train")
    assert str(shard) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_shard_that_breaks_while_it_is_open_is_named(tmp_path):
    """Numbers are read when they are drawn: a hole in them, another window's size, a file that is cut off meanwhile."""
    folder = small.write_set(tmp_path / "set")
    shard = folder / "train_1.parquet"
    whole = shard.read_bytes()
    latent = np.asarray(small.rows("carla", seed=1)[2].latent, np.float16).tobytes()
    at = whole.index(latent)
    shard.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
    windows = Windows(folder, "train")
    number = [row["id"] for row in windows.rows].index("carla@2")
    windows.read(number - 1)
    with pytest.raises(InputError, match=r"train_1\.parquet is cut off, damaged"):
        windows.read(number)
    odd = replace(small.rows("eve")[0], latent=np.zeros((16, 3, 2, 2)))
    write_windows(folder / "train_2.parquet", [odd])
    windows = Windows(folder, "train")
    with pytest.raises(InputError, match=r"train_2\.parquet is cut off, damaged .*reshape"):
        windows.read(len(windows) - 1)
    (folder / "train_0.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"train_0\.parquet is cut off, damaged"):
        windows.read(0)
