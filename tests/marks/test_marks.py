"""The marks that need no extra: the note in the metadata, the label, what is reported and what is refused."""

import sys

import av
import numpy as np
import pytest

from omnisync_core import cli, media
from omnisync_core.errors import InputError
from omnisync_core.job.options import SyncOptions
from omnisync_core.marks.marking import LAW
from omnisync_core.marks.options import Marks
from omnisync_core.marks.tag import NOTE, has_tag
from omnisync_core.pipeline import sync_video
from tests.clips import write_clip
from tests.fake import FakeEngine, pictures, write_sound, write_video


@pytest.fixture
def run(tmp_path):
    def job(output, marks=None, loud=True, **options):
        video = write_video(tmp_path / "film.mkv", 10)
        sound = write_sound(tmp_path / f"{loud}.wav", 0.4, bursts=((0, 9),) if loud else ())
        options = SyncOptions(mouth="centre", **({"marks": marks} if marks else {}), **options)
        return sync_video(video, sound, tmp_path / output, FakeEngine(), options)

    return job


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_by_default_a_note_says_it(run, tmp_path, name):
    report = run(name)
    assert has_tag(tmp_path / name)
    assert not has_tag(tmp_path / "film.mkv")
    assert report.marks == ("marked as edited by a note in its metadata, which services may strip", LAW)


def test_what_is_not_edited_is_not_marked(run, tmp_path):
    report = run("same.mp4", loud=False, silence="keep")
    assert report.edited == 0
    assert report.marks == ()
    assert not has_tag(tmp_path / "same.mp4")


def test_without_marks_the_report_says_so(run, tmp_path):
    assert run("out.mp4", Marks(())).marks == ("not marked as edited", LAW)
    assert not has_tag(tmp_path / "out.mp4")


def test_the_source_s_own_comment_stays(tmp_path):
    source = write_clip(tmp_path / "a.mp4", metadata={"comment": "mine", "title": "T"})
    for number in range(2):  # and a second edit does not say it twice
        with media.VideoWriter(tmp_path / f"{number}.mp4", source, note=NOTE) as writer:
            for frame in media.read_frames(source):
                writer.write(frame)
        source = tmp_path / f"{number}.mp4"
        with av.open(str(source)) as container:
            assert container.metadata["comment"] == f"mine; {NOTE}"
            assert container.metadata["title"] == "T"


def test_a_finisher_sees_the_whole_file_before_it_appears(tmp_path):
    source, seen = write_clip(tmp_path / "a.mp4"), []

    def finish(path):
        with av.open(str(path)) as container:
            seen.append(sum(1 for _ in container.decode(video=0)))
        assert not (tmp_path / "b.mp4").exists()

    with media.VideoWriter(tmp_path / "b.mp4", source, finish=finish) as writer:
        for frame in media.read_frames(source):
            writer.write(frame)
    assert seen == [6]
    assert len(pictures(tmp_path / "b.mp4")) == 6

    def refuse(path):
        raise InputError("not this one")

    with pytest.raises(InputError), media.VideoWriter(tmp_path / "c.mp4", source, finish=refuse) as writer:
        writer.write(next(iter(media.read_frames(source))))
    assert not list(tmp_path.glob("c.mp4*"))


@pytest.mark.parametrize("corner", ["top-left", "bottom-right"])
def test_a_label_is_seen_in_every_frame_and_only_there(tmp_path, corner):
    from omnisync_core.marks.label import draw_label

    source = write_video(tmp_path / "a.mkv", 3, size=(320, 180))
    for frame in media.read_frames(source):
        after = draw_label(frame, Marks(label="AI-edited", corner=corner, opacity=1.0))
        change_HW = np.abs(after.rgb() - frame.rgb()).max(axis=2)
        near = change_HW[:40, :160] if corner == "top-left" else change_HW[-40:, -160:]
        assert near.max() > 0.3
        assert np.count_nonzero(change_HW) == np.count_nonzero(near)
        assert after.rgb().max() > 0.95  # white letters


@pytest.mark.parametrize("side", [128, 720, 2160])
def test_the_rim_lies_around_every_letter(side):
    from omnisync_core.marks.label import _place

    _, ink_HW, shade_HW = _place(side, side, "AI-edited", "bottom right")
    letters, rim = (np.flatnonzero((mask > 0.2).any(0)) for mask in (ink_HW, shade_HW))
    assert 1 <= letters[0] - rim[0] == rim[-1] - letters[-1]
    assert (shade_HW >= ink_HW).all()


def test_a_label_wider_than_the_frame_is_cut(tmp_path):
    from omnisync_core.marks.label import draw_label

    (frame, *_) = media.read_frames(write_video(tmp_path / "a.mkv", 1, size=(48, 32)))
    assert draw_label(frame, Marks(label="AI-edited by somebody")).rgb().shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kinds": ("tag", "stamp")}, "a mark must be one of tag, c2pa, watermark, got 'stamp'"),
        ({"label": "Mit KI geändert"}, "letters of ASCII"),
        ({"corner": "middle"}, "corner must be one of"),
        ({"opacity": 0.0}, "opacity must be above 0"),
    ],
)
def test_marks_that_cannot_be(given, says):
    with pytest.raises(InputError, match=says):
        Marks(**given)


def test_a_lossless_result_keeps_its_pixels(run):
    with pytest.raises(InputError, match="a watermark changes pixels"):
        run("out.mkv", Marks(("watermark",)), lossless=True)
    with pytest.raises(InputError, match="a label covers pixels"):
        run("out.mkv", Marks(label="AI"), lossless=True)


def test_without_the_library_one_line_says_what_to_install(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    pem = tmp_path / "a.pem"
    pem.write_text("-----BEGIN")
    with pytest.raises(InputError, match="pip install c2pa-python"):
        run("out.mp4", Marks(("c2pa",), certificate=str(pem), key=str(pem)))
    run("out.mp4")
    assert cli.main(["verify", str(tmp_path / "out.mp4")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "metadata: says that it was edited with trained algorithmic media"
    assert "pip install c2pa-python" in out[1]
    assert out[2].startswith("watermark, pattern: not found")
