"""Sign Video and the marks of Lip Sync Video: what is saved is signed with the user's own certificate, and nothing is
left when it cannot be."""

import shutil
from fractions import Fraction

import pytest

c2pa = pytest.importorskip("c2pa", reason="Content Credentials need c2pa-python: pip install c2pa-python")

from tests.marks.certificates import write_pair  # noqa: E402


def graph(**inputs):
    return {
        "clip": {"class_type": "OmniSyncExample", "inputs": {"name": "person"}},
        "sign": {
            "class_type": "OmniSyncSignVideo",
            "inputs": {"video": ["clip", 0], "source": ["clip", 0], "filename_prefix": "signed/a", **inputs},
        },
    }


def test_the_saved_file_is_signed(host, tmp_path, monkeypatch):
    pair = write_pair(tmp_path)
    monkeypatch.setenv("OMNISYNC_C2PA_CERTIFICATE", pair["certificate"])
    monkeypatch.setenv("OMNISYNC_C2PA_KEY", pair["key"])
    _, report = host.run(graph())["sign"]
    (path,) = (host.output / "signed").iterdir()
    assert report.startswith(f"{path.name}: signed by Test Studio; made from ")
    claim = host.module("omnisync_core.marks.credentials").read_claim(path)
    assert claim.is_intact
    assert claim.is_edited
    assert claim.actions == ("c2pa.opened", "c2pa.edited")
    path.unlink()


def test_without_a_certificate_nothing_is_saved(host, monkeypatch):
    monkeypatch.delenv("OMNISYNC_C2PA_CERTIFICATE", raising=False)
    monkeypatch.delenv("OMNISYNC_C2PA_KEY", raising=False)
    host.forget()  # the graph is the same as above
    with pytest.raises(Exception, match="no certificate: name the files in OMNISYNC_C2PA_CERTIFICATE"):
        host.run(graph())
    assert not list((host.output / "signed").glob("*"))


@pytest.fixture
def saved(host, tmp_path):
    """Lip Sync Video with a mark, then the host's own Save Video: the saved file and the report."""
    from tests.host.painted import OPTIONS, painter, pictures, sound, track

    host.load("nodes_video.py")
    clip = tmp_path / "clip.mp4"
    host.module("omnisync_core.media").write_pictures(clip, pictures().numpy(), Fraction(25), "yuv420p")

    def run(mark, kind="auto"):
        from comfy_api.latest import InputImpl

        host.forget()
        given = host.give(InputImpl.VideoFromFile(str(clip)), sound(), painter(host), track(host, 20))
        links = {name: ["given", slot] for slot, name in enumerate(("video", "audio", "engine", "mouth_track"))}
        settings = {**OPTIONS, "lossless": False, "mark": mark}
        sync = {"class_type": "OmniSyncLipSyncVideo", "inputs": {**links, **settings}}
        save = {
            "video": ["sync", 0],
            "filename_prefix": f"marked/{tmp_path.name}",
            "format": kind,
            "format.codec": "auto",
        }
        made = host.run({"given": given, "sync": sync, "save": {"class_type": "SaveVideo", "inputs": save}})
        (path,) = (host.output / "marked").glob(f"{tmp_path.name}*")
        return path, made["sync"][1]

    yield run
    shutil.rmtree(host.output / "marked", ignore_errors=True)


@pytest.fixture
def certified(tmp_path, monkeypatch):
    pair = write_pair(tmp_path)
    monkeypatch.setenv("OMNISYNC_C2PA_CERTIFICATE", pair["certificate"])
    monkeypatch.setenv("OMNISYNC_C2PA_KEY", pair["key"])


def test_the_mark_c2pa_outlives_save_video(host, saved, certified):
    path, report = saved("tag,c2pa")
    assert "signed Content Credentials" in report
    claim = host.module("omnisync_core.marks.credentials").read_claim(path)
    assert claim.is_intact
    assert claim.is_edited
    assert claim.signer == "Test Studio"
    assert claim.sources[0].startswith("omnisync_")
    assert path.read_bytes().count(b"clip.mp4")  # the source, in the credentials of what was saved from
    assert host.module("omnisync_core.marks.tag").has_tag(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_signed_is_not_saved(host, saved, certified):
    with pytest.raises(Exception, match=r"\.mkv cannot carry Content Credentials: take \.mp4 or \.mov"):
        saved("tag,c2pa", "mkv")
    assert not list((host.output / "marked").glob("*.*"))


def test_the_mark_c2pa_without_a_certificate_says_so(host, saved, monkeypatch):
    monkeypatch.delenv("OMNISYNC_C2PA_CERTIFICATE", raising=False)
    monkeypatch.delenv("OMNISYNC_C2PA_KEY", raising=False)
    path, report = saved("tag,c2pa")
    assert "not signed: no certificate is named" in report
    assert host.module("omnisync_core.marks.credentials").read_claim(path) is None


@pytest.mark.parametrize("mark", ["none", "tag,watermark"])
def test_other_marks_of_lip_sync(host, saved, mark):
    path, report = saved(mark)
    assert host.module("omnisync_core.marks.tag").has_tag(path) == (mark != "none")
    assert ("a watermark over the whole picture" in report) == (mark != "none")
    assert ("not marked as edited" in report) == (mark == "none")
