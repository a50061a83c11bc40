"""Content Credentials: what is signed, what is read, what is wrong with a file or a certificate."""

import shutil

import av
import pytest

pytest.importorskip("c2pa", reason="Content Credentials need c2pa-python: pip install c2pa-python")

from omnisync_core import cli
from omnisync_core.errors import InputError
from omnisync_core.job.options import SyncOptions
from omnisync_core.marks.credentials import Signer, read_claim
from omnisync_core.marks.options import CERTIFICATE, KEY, Marks
from omnisync_core.marks.tag import has_tag
from omnisync_core.marks.verify import verify
from omnisync_core.pipeline import sync_video
from tests.clips import write_clip
from tests.fake import FakeEngine, write_sound, write_video
from tests.marks.certificates import write_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signed(tmp_path, pair):
    """A result that a job signed: its path."""
    video = write_video(tmp_path / "film.mkv", 10)
    options = SyncOptions(mouth="centre", marks=Marks(("tag", "c2pa"), **pair))
    report = sync_video(video, write_sound(tmp_path / "a.wav", 0.4), tmp_path / "out.mp4", FakeEngine(), options)
    assert "signed Content Credentials" in report.marks[0]
    return tmp_path / "out.mp4"


def test_a_signed_result_says_what_was_done_to_what(signed):
    claim = read_claim(signed)
    assert claim.signer == "Test Studio"
    assert claim.generator.startswith("OmniSync")
    assert claim.actions == ("c2pa.opened", "c2pa.edited")
    assert claim.sources == ("film.mkv",)
    assert claim.is_edited
    assert claim.is_intact
    assert not claim.is_trusted
    assert has_tag(signed)
    assert b"com.omnisync.model" in signed.read_bytes()
    assert [path.name for path in signed.parent.glob("out*")] == ["out.mp4"]
    with av.open(str(signed)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10


def test_what_the_source_was_signed_for_is_kept(signed, tmp_path, pair):
    again = tmp_path / "again.mp4"
    again.write_bytes(write_clip(tmp_path / "plain.mp4").read_bytes())
    Signer(**pair).sign(again, again, signed, {"engine": "other"})
    claim = read_claim(again)
    assert claim.sources == ("out.mp4",)
    assert claim.is_intact
    assert again.read_bytes().count(b"film.mkv") >= 1  # the source's own credentials, in whole


def test_one_bit_is_enough(signed, tmp_path, capsys):
    data = bytearray(signed.read_bytes())
    at = data.rindex(b"mdat") + 600
    data[at] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)
    assert read_claim(changed).problem == "assertion.bmffHash.mismatch"
    assert cli.main(["verify", str(changed)]) == 2
    out, err = capsys.readouterr()
    assert "CHANGED since" in out
    assert err == f"error: {changed} was changed after it was signed\n"
    assert cli.main(["verify", str(signed)]) == 0
    assert "the file is as it was signed" in capsys.readouterr().out


def test_a_remux_drops_them_and_the_tag_may_stay(signed, tmp_path):
    with av.open(str(signed)) as source, av.open(str(tmp_path / "re.mp4"), "w") as output:
        stream = source.streams.video[0]
        target = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = target
                output.mux(packet)
    verdict = verify(tmp_path / "re.mp4")
    assert verdict.claim is None
    assert not verdict.is_changed
    assert "none; if there were some, a re-mux or an upload dropped them" in "\n".join(verdict.lines())


def test_a_name_hides_no_credentials_and_makes_none(signed, tmp_path):
    assert read_claim(shutil.copy(signed, tmp_path / "named.mkv")).is_intact
    assert read_claim(shutil.copy(tmp_path / "film.mkv", tmp_path / "film.mp4")) is None


def test_damaged_credentials_are_a_change(signed, tmp_path, capsys):
    data = bytearray(signed.read_bytes())
    at = data.index(b"jumb") + 200
    data[at : at + 8] = b"XXXXXXXX"
    hurt = tmp_path / "hurt.mp4"
    hurt.write_bytes(data)
    assert cli.main(["verify", str(hurt)]) == 2
    out, err = capsys.readouterr()
    assert "Content Credentials: there are some, but damaged (" in out
    assert err == f"error: {hurt} was changed after it was signed\n"


def test_bad_certificates_are_told_before_the_work(tmp_path, pair):
    other, old = write_pair(tmp_path, "other"), write_pair(tmp_path, "old", days=(-30, -1))
    (tmp_path / "junk.pem").write_text("no PEM")
    cases = [
        (old, "is not valid today: renew it"),
        ({"certificate": pair["certificate"], "key": other["key"]}, "does not fit the certificate"),
        ({"certificate": str(tmp_path / "none.pem"), "key": pair["key"]}, "cannot read the certificate"),
        ({"certificate": str(tmp_path / "junk.pem"), "key": pair["key"]}, "is not PEM"),
        ({"certificate": pair["certificate"], "key": pair["certificate"]}, "is no private key"),
    ]
    for files, says in cases:
        with pytest.raises(InputError, match=says):
            Signer(**files)


def test_bad_jobs_are_refused_before_the_work(tmp_path, pair, monkeypatch):
    video, sound = write_video(tmp_path / "film.mkv", 10), write_sound(tmp_path / "a.wav", 0.4)

    def run(output, **marks):
        options = SyncOptions(mouth="centre", marks=Marks(("c2pa",), **marks))
        return sync_video(video, sound, tmp_path / output, FakeEngine(), options)

    with pytest.raises(InputError, match=r"out\.mkv cannot carry Content Credentials: take \.mp4 or \.mov"):
        run("out.mkv", **pair)
    with pytest.raises(InputError, match="there is a key, but no certificate"):
        run("out.mp4", key=pair["key"])
    report = run("out.mp4")
    assert report.marks[1].startswith("not signed: no certificate is named")
    assert read_claim(tmp_path / "out.mp4") is None
    assert not has_tag(tmp_path / "out.mp4")
    monkeypatch.setenv(CERTIFICATE, pair["certificate"])
    monkeypatch.setenv(KEY, pair["key"])
    run("env.mp4")
    assert read_claim(tmp_path / "env.mp4").is_intact


def test_a_process_elsewhere_finds_the_same_files(tmp_path, pair, monkeypatch):
    """Workers have another folder and another environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CERTIFICATE, "c.pem")
    monkeypatch.setenv(KEY, pair["key"])
    marks = Marks(("c2pa",)).anywhere()
    monkeypatch.delenv(CERTIFICATE)
    assert marks.credentials == (str(tmp_path / "c.pem"), pair["key"])
    monkeypatch.delenv(KEY)
    assert Marks(("c2pa",), label="AI").anywhere() == Marks(("c2pa",), label="AI")
