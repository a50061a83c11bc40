"""Lists from folders: who says whose sound, styles, and what is missing."""

import shutil
from fractions import Fraction

import numpy as np
import pytest

from omnisync_core.bench.prepare import prepare
from omnisync_core.errors import InputError
from omnisync_core.manifest import read_manifest
from omnisync_core.media import write_pictures
from tests.clips import pictures, tone, write_tone
from tests.fake import write_video


@pytest.fixture
def speaking(tmp_path):
    """Five short videos with sound in a folder."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_tone(tmp_path / "tone.wav", "pcm_s16le", seconds=0.4)
    frames = (picture.astype(np.float32) / 255 for picture in pictures())
    write_pictures(folder / "p0.mkv", frames, Fraction(25), "bgr0", (tone(16000, 1, 0.24), 16000))
    for at in range(1, 5):
        shutil.copy(folder / "p0.mkv", folder / f"p{at}.mkv")
    return folder


def test_nobody_keeps_their_own_sound_and_everybody_s_is_said_once(speaking, tmp_path):
    assert prepare("hdtf", speaking, tmp_path / "list.csv", seed=3) == 5
    rows = read_manifest(tmp_path / "list.csv")
    assert all(row.video != row.audio and not row.problem and row.style == "realistic" for row in rows)
    assert len({row.audio for row in rows}) == 5


def test_a_seed_gives_the_same_pairs_and_another_one_others(speaking, tmp_path):
    sounds = []
    for seed in (1, 1, 2, 3, 4):
        prepare("hdtf", speaking, tmp_path / "list.csv", seed=seed)
        sounds.append([row.audio for row in read_manifest(tmp_path / "list.csv")])
    assert sounds[0] == sounds[1]
    assert any(one != sounds[0] for one in sounds[2:])


def test_hdtf_takes_the_clips_of_the_test_list_alone(speaking, tmp_path):
    (tmp_path / "test.txt").write_text("# the test list\np3.mp4\nP1 some words\n")
    prepare("hdtf", speaking, tmp_path / "list.csv", names=tmp_path / "test.txt")
    assert [row.id for row in read_manifest(tmp_path / "list.csv")] == ["p3", "p1"]
    (tmp_path / "test.txt").write_text("p3\nWDA_BarackObama_000\n")
    with pytest.raises(InputError, match=r"lacks 1 of the 2 clips .*WDA_BarackObama_000"):
        prepare("hdtf", speaking, tmp_path / "list.csv", names=tmp_path / "test.txt")


def test_styles_are_folders_or_a_table(speaking, tmp_path):
    for at, style in enumerate(("realistic", "stylised", "Stylized", "atypical", "atypical")):
        (speaking / style).mkdir(exist_ok=True)
        shutil.move(speaking / f"p{at}.mkv", speaking / style)
    prepare("aigc", speaking, tmp_path / "list.csv")
    rows = {row.id: row.style for row in read_manifest(tmp_path / "list.csv")}
    assert rows["stylised_p1"] == rows["Stylized_p2"] == "stylised"
    assert rows["atypical_p4"] == "atypical"
    shutil.copy(speaking / "realistic" / "p0.mkv", speaking / "p9.mkv")
    with pytest.raises(InputError, match=r"1 clips have no style \(first: p9\.mkv\)"):
        prepare("aigc", speaking, tmp_path / "list.csv")


def test_a_folder_s_sounds_are_said_by_the_videos_of_their_names(speaking, tmp_path):
    for name in ("p2.wav", "other.wav"):
        shutil.copy(tmp_path / "tone.wav", speaking / name)
    prepare("folder", speaking, tmp_path / "list.csv")
    rows = {row.id: row.audio.name for row in read_manifest(tmp_path / "list.csv")}
    assert rows["p2"] == "p2.wav"
    assert rows["p0"] == "other.wav"


def test_two_files_of_one_name_are_two_clips(speaking, tmp_path):
    shutil.copy(speaking / "p0.mkv", speaking / "p0.mp4")
    (speaking / "q").mkdir()
    for name in ("q/1.mkv", "q_1.mkv", f"{'x' * 200}.mkv", f"{'x' * 201}.mkv"):
        shutil.copy(speaking / "p1.mkv", speaking / name)
    prepare("folder", speaking, tmp_path / "list.csv")
    rows = read_manifest(tmp_path / "list.csv")
    assert len(rows) == len({row.id for row in rows}) == 10
    assert not [row.problem for row in rows if row.problem]


def test_a_broken_video_costs_its_row_alone(speaking, tmp_path):
    (speaking / "p2.mkv").write_bytes(b"torn")
    assert prepare("hdtf", speaking, tmp_path / "list.csv") == 5
    assert "p2.mkv" not in {row.audio.name for row in read_manifest(tmp_path / "list.csv")}


@pytest.mark.parametrize("label", ["", "[]", '{"mouth_center_xy": []}'])
def test_a_drawn_clip_whose_label_is_damaged(tmp_path, label):
    (tmp_path / "clip").mkdir()
    for name, text in (("source.mkv", ""), ("mouth.json", label)):
        (tmp_path / "clip" / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"mouth\.json is damaged"):
        prepare("folder", tmp_path, tmp_path / "list.csv")


def test_folders_that_give_no_list_are_told(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        prepare("folder", tmp_path / "gone", tmp_path / "list.csv")
    with pytest.raises(InputError, match="holds no videos"):
        prepare("folder", tmp_path, tmp_path / "list.csv")
    write_video(tmp_path / "mute.mkv", 3)
    with pytest.raises(InputError, match="holds one video"):
        prepare("hdtf", tmp_path, tmp_path / "list.csv")
    write_video(tmp_path / "mute2.mkv", 3)
    with pytest.raises(InputError, match=r"no video in .* has sound"):
        prepare("hdtf", tmp_path, tmp_path / "list.csv")
