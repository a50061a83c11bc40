"""Footage to encoded windows: crops as an engine edits them, pseudo-pairs three ways, nothing made twice."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from omnisync_core.audio import SpeechWave
from omnisync_core.checkpoint import write_bundle
from omnisync_core.engines.humo_audio import group
from omnisync_core.errors import InputError
from omnisync_core.media import probe_video, read_frames
from omnisync_core.models.whisper import SpeechFeatures, WhisperEncoder
from omnisync_core.tables import read_table
from omnisync_core.training.footage import PrepareOptions, changed, encode, prepare
from omnisync_core.training.footage.changed import change
from omnisync_core.training.footage.drawn import encode_drawn
from omnisync_core.training.footage.encode import EncodeOptions, level_caption
from omnisync_core.training.footage.spread import Processes
from omnisync_core.training.sized.windows import Windows
from tests import tiny
from tests.training.footage.test_prepare import film, seen
from tests.training.sized import small
from tests.training.stub import utterances, write_shard

pytest.importorskip("pyarrow")
OPTIONS = PrepareOptions(crops=32, pairs="folder", test_share=0)


@pytest.fixture
def crops(tmp_path, monkeypatch) -> Path:
    """Crops of two films of one person in one pose."""
    monkeypatch.setattr("omnisync_core.mouth.track", seen)
    for name in ("one", "two"):
        film(tmp_path / "footage" / "anna" / "front" / f"{name}.mp4")
    prepare(tmp_path / "footage", tmp_path / "set", OPTIONS)
    return tmp_path / "set"


def asked(tmp_path: Path, **more) -> EncodeOptions:
    parts = str(small.write_parts(tmp_path / "parts"))
    return EncodeOptions("tiny", parts, parts, frames=9, tokens=2, **more)


def test_crops_hold_the_mouth_where_it_is_said_to_be(crops):
    rows = read_table(crops / "clips.csv")
    assert {row["pose"] for row in rows} == {"anna/front"}
    assert {row["person"] for row in rows} == {"anna"}
    path = crops / rows[0]["path"]
    assert (probe_video(path).width, probe_video(path).height) == (32, 32)
    mouth_F3 = np.array(json.loads(path.with_suffix(".json").read_text())["mouth"])
    assert len(mouth_F3) == int(rows[0]["frames"])
    for frame, (x, y, _) in zip(read_frames(path), mouth_F3, strict=True):
        light = np.clip(frame.rgb().mean(2) - 0.6, 0, None)
        found = [np.average(axis, weights=light) for axis in np.mgrid[:32, :32][::-1]]
        assert np.abs(np.array(found) + 0.5 - 32 * np.array([x, y])).max() < 1, frame.index


def test_windows_are_encoded_once(crops, tmp_path, monkeypatch):
    count = encode.encode(crops, asked(tmp_path))
    assert count == 2 * (55 // 9)
    windows = Windows(crops / "encoded" / "tiny", "train")
    assert len(windows) == count and len(windows.pseudo) == count, "a folder is a pose"
    read = windows.read(0)
    assert read["latent"].shape == (16, 3, 4, 4)
    assert read["speech"].shape == (9, 2, 16)
    (shard,) = (crops / "encoded" / "tiny").glob("*.tar")
    with tarfile.open(shard) as held:
        names = held.getnames()
    assert len(names) == 4
    assert [Path(name).stem for name in names[::2]] == [Path(name).stem for name in names[1::2]]

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(encode, "_windows", never)
    assert encode.encode(crops, asked(tmp_path)) == count
    with pytest.raises(InputError, match="another VAE, Whisper or size"):
        encode.encode(crops, EncodeOptions("tiny", *[asked(tmp_path).vae] * 2, frames=5, tokens=2))


def test_processes_make_the_same_windows(crops, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "SHARD_CLIPS", 1)
    counts = []
    count = encode.encode(crops, asked(tmp_path), lambda *now: counts.append(now), Processes(2))
    two = Windows(crops / "encoded" / "tiny", "train")
    assert counts == [(0, 2), (1, 2), (2, 2)]
    assert len(list((crops / "encoded" / "tiny").glob("*.tar"))) == 2
    shutil.rmtree(crops / "encoded")
    assert encode.encode(crops, asked(tmp_path)) == count == len(two)
    one = Windows(crops / "encoded" / "tiny", "train")
    assert one.rows == two.rows
    for name, value in one.read(3).items():
        np.testing.assert_allclose(two.read(3)[name], value, atol=2e-3)


def test_what_humo_hears(crops, tmp_path):
    """As its engine hears it: by latent frame, in five groups of Whisper large-v3's layers."""
    torch.manual_seed(0)
    sizes = {**tiny.WHISPER, "encoder_layers": 32, "max_source_positions": 1500}
    whisper = tiny.stirred(WhisperEncoder(sizes)).eval().requires_grad_(False)
    large, parts = str(tmp_path / "large.safetensors"), str(small.write_parts(tmp_path / "parts"))
    write_bundle(large, {**tiny.networks(), "whisper": whisper}, {**tiny.CONFIG, "whisper": sizes}, torch.float32)
    with pytest.raises(InputError, match=r"HuMo hears Whisper large-v3, .* has 1 layers and 1.2 s"):
        encode.encode(crops, EncodeOptions("humo", parts, parts, frames=9, hears="humo"))
    encode.encode(crops, EncodeOptions("humo", parts, large, frames=9, hears="humo"))
    windows = Windows(crops / "encoded" / "humo", "train")
    assert windows.encoding.as_humo_hears
    assert windows.encoding.heard == (10, 16)
    name, _, first = windows.rows[1]["id"].partition("@")
    mel = SpeechFeatures(whisper, SpeechWave(crops / name), 1).mel(0)
    states_TGD = group(torch.stack([layer[0] for layer in whisper.layers(torch.from_numpy(mel)[None])], 1)).numpy()
    heard = windows.read(1)["speech"].reshape(3, 8, 5, 16)
    assert first == "9"
    assert not heard[0, :3].any()
    for latent, place, frame in [(0, 3, 7), (0, 5, 9), (0, 7, 11), (1, 0, 8), (1, 7, 15), (2, 0, 12), (2, 7, 19)]:
        np.testing.assert_allclose(heard[latent, place], states_TGD[2 * frame], rtol=4e-3, atol=4e-3)


def test_a_changed_clip_is_shown_and_the_original_is_the_truth(crops, tmp_path, monkeypatch):
    heard = []

    def sync(video, audio, output, engine, options):
        heard.append((Path(video).name, Path(audio).name, options.mouth))
        Path(output).write_bytes(Path(video).read_bytes())

    monkeypatch.setattr(changed, "sync_video", sync)
    assert change(crops, engine=None) == 2
    assert len(heard) == 2
    assert all(video != audio and 0 < mouth[0] < 32 for video, audio, mouth in heard)
    assert change(crops, engine=None) == 2 and len(heard) == 2, "made once"
    encode.encode(crops, asked(tmp_path))
    windows = Windows(crops / "encoded" / "tiny", "train")
    assert sum(not row["truth"] for row in windows.rows) == sum(row["truth"] for row in windows.rows)
    assert all(windows.rows[number]["truth"] for number in windows.pseudo)


def test_drawn_characters(tmp_path, monkeypatch):
    for split in ("train", "test"):
        write_shard(tmp_path / f"reels_{split}" / "reels_0000.npz")
        (tmp_path / f"corpus_{split}.npz").write_bytes(b"")
    monkeypatch.setattr("omnisync_core.training.footage.drawn.load_corpus", lambda path: utterances())
    assert encode_drawn(tmp_path, tmp_path / "set", asked(tmp_path)) == 16
    windows = Windows(tmp_path / "set" / "encoded" / "tiny", "train")
    assert len(windows) == 8
    assert len(windows.pseudo) == 6
    assert len(windows.arbitrary) == 8
    assert encode_drawn(tmp_path, tmp_path / "set", asked(tmp_path)) == 0


def test_captions_by_loudness():
    from omnisync_core.audio import ArrayWave

    tone_S = np.sin(np.arange(32000) / 5).astype(np.float32)
    said = [level_caption(ArrayWave(gain * tone_S), 2.0) for gain in (0.5, 0.08, 0.005)]
    assert "loudly" in said[0]
    assert len(set(said)) == 3


def test_captions_from_a_file(crops, tmp_path):
    """By the source's name; a source that the file does not name has the one by loudness."""
    table = tmp_path / "captions.csv"
    table.write_text("source,caption\nanna/front/one.mp4,A woman hums.\n", encoding="utf-8")
    encode.encode(crops, asked(tmp_path, captions=str(table)))
    windows = Windows(crops / "encoded" / "tiny", "train")
    assert len(windows.captions) == 2
    assert "A woman hums." in windows.captions


def test_what_does_not_serve_is_one_line(crops, tmp_path):
    faces = tmp_path / "faces"
    prepare(tmp_path / "footage", faces, PrepareOptions(resolution=64, test_share=0))
    for give, reason in (
        (lambda: encode.encode(tmp_path, asked(tmp_path)), "is no set"),
        (lambda: encode.encode(faces, asked(tmp_path)), "nothing says where the mouth is"),
        (lambda: encode_drawn(tmp_path, tmp_path / "x", asked(tmp_path)), "no reels_train"),
        (lambda: EncodeOptions("a", "v", "w", frames=16), "1 \\+ 4k frames"),
        (lambda: EncodeOptions("../..", "v", "w"), r"a plain name .* got '\.\./\.\.'"),
        (lambda: EncodeOptions("..", "v", "w"), "a plain name"),
        (lambda: encode.encode(crops, asked(tmp_path, captions=str(crops / "clips.csv"))), "has no column caption"),
        (lambda: PrepareOptions(crops=40), "multiple of 16"),
        (lambda: PrepareOptions(pairs="all"), "none, folder"),
    ):
        with pytest.raises(InputError, match=reason) as error:
            give()
        assert "\n" not in str(error.value)


def test_a_clip_that_is_gone_is_named(crops, tmp_path):
    path = read_table(crops / "clips.csv")[0]["path"]
    (crops / path).unlink()
    with pytest.raises(InputError, match=f"lacks 1 of the 2 clips that it lists .*{path}.* run `prepare"):
        encode.encode(crops, asked(tmp_path))


def test_a_shard_of_before_that_is_cut_off_is_named(crops, tmp_path):
    encode.encode(crops, asked(tmp_path))
    (shard,) = (crops / "encoded" / "tiny").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{shard.name} is cut off, damaged .* run `prepare` again"):
        encode.encode(crops, asked(tmp_path))
    shard.unlink()
    assert encode.encode(crops, asked(tmp_path)) > 0


def test_a_tar_of_before_that_is_cut_off_is_made_again(crops, tmp_path):
    encode.encode(crops, asked(tmp_path))
    (tar,) = (crops / "encoded" / "tiny").glob("*.tar")
    whole = tar.read_bytes()
    with tarfile.open(tar) as opened:
        second = opened.getmembers()[1].offset
    shard = tar.with_suffix(".parquet")
    made = shard.stat().st_mtime_ns
    for left in (b"", whole[: len(whole) // 2], whole[:second]):
        tar.write_bytes(left)
        encode.encode(crops, asked(tmp_path))
        with tarfile.open(tar) as opened:
            assert len(opened.getnames()) == 4
        assert len(tar.read_bytes()) == len(whole)
    tar.unlink()
    encode.encode(crops, asked(tmp_path))
    assert tar.exists()
    assert shard.stat().st_mtime_ns == made, "its windows are not made again"


def test_from_footage_to_a_video(crops, tmp_path, monkeypatch):
    """prepare, train, the bundle as an engine, a video with it."""
    from omnisync_core import SyncOptions, load_engine, sync_video
    from omnisync_core.training.sized import train_sized

    encode.encode(crops, asked(tmp_path))
    table = small.table(tmp_path, data=str(crops / "encoded" / "tiny"), steps=2, sampling={"steps": 1, "tau": 0.9})
    path = train_sized(table, tmp_path, 0)
    film_path, out = tmp_path / "footage" / "anna" / "front" / "one.mp4", tmp_path / "out.mp4"
    monkeypatch.undo()
    options = SyncOptions(mouth="centre", preview_seconds=0.6)
    report = sync_video(film_path, film_path, out, load_engine(path, device="cpu"), options)
    assert report.edited > 0
    assert probe_video(out).frame_count == report.frames
