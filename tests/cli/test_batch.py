"""`python -m omnisync_core batch`: plan, bar, table, one line for what is wrong."""

import signal
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")

from omnisync_core import cli
from omnisync_core.batch import plan
from omnisync_core.batch.outcome import RESULTS, read_results
from omnisync_core.job.manifest import file_digest
from omnisync_core.manifest import write_manifest
from tests.batch.batches import Napping, write_rows
from tests.engines.latentsync import small


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The command's words for three clips, with an engine that is none."""
    write_manifest(tmp_path / "list.csv", write_rows(tmp_path / "in", 3))
    monkeypatch.setattr(plan.ModelChoice, "load", lambda self: Napping(0))
    out = tmp_path / "out"
    return ["batch", str(tmp_path / "list.csv"), "--out", str(out), "--mouth", "centre", "--container", "mkv"]


def test_a_list_of_clips(given, tmp_path, capsys):
    (tmp_path / "in" / "a1.wav").unlink()
    assert cli.main(given) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "3 clips: 0 done before, 1 cannot be read, 2 to do with 1 s of video"
    assert out.splitlines()[1] == "clip1: row 2: there is no audio file in/a1.wav"
    assert out.splitlines()[2].startswith(f"{tmp_path / 'out' / RESULTS}: 2 done, 1 refused; ")
    assert (
        out.splitlines()[3] == "edited clips are marked as edited by a note in its metadata, which services may strip"
    )
    assert "Article 50" in out.splitlines()[4]
    assert "clips: 100%" in err
    assert "speed=" in err
    states = [outcome.state for outcome in read_results(tmp_path / "out" / RESULTS)]
    assert states == ["done", "refused", "done"]
    assert cli.main(given) == 0
    assert capsys.readouterr().out.startswith("3 clips: 2 done before, 1 cannot be read, 0 to do")


def test_a_dry_run_writes_nothing(given, tmp_path, capsys):
    assert cli.main([*given, "--dry-run"]) == 0
    assert "one process takes about" in capsys.readouterr().out
    assert not list((tmp_path / "out").iterdir())


def test_stopped_it_says_how_to_go_on(given, tmp_path, capsys, monkeypatch):
    class Stopped(Napping):
        def edit_window(self, *_):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(plan.ModelChoice, "load", lambda self: Stopped(0))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
        try:
            assert cli.main(given) == 130
        finally:
            signal.signal(signal.SIGINT, before)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"stopped; what is finished is kept in {tmp_path / 'out'}. Go on with: python -m omnisync")
    assert cli.main(last.partition("omnisync_core ")[2].split()) == 0


def test_bad_lists_get_one_line(given, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("id,video\na,b\n")
    assert cli.main(given) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "no column audio" in err
    assert not out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--engine humo:flow.json", "flow.json is a workflow for ComfyUI servers: queue flow.json --manifest LIST"),
        ("--engine latentsync:a.pt,b.pt", "must be mini, mini:BUNDLE or latentsync:UNET,VAE,WHISPER"),
        ("--engine mini:a,b", "must be mini, mini:BUNDLE or"),
        ("--engine source", "must be mini, mini:BUNDLE or"),
        ("--engine mini --model a.safetensors", "give either --engine, or --model, --vae and --whisper"),
        ("--engine mini:gone.safetensors", f"no such file: {Path('gone.safetensors').absolute()}"),
        ("--engine latentsync:gone.pt,b,c", f"no such file: {Path('gone.pt').absolute()}"),
        ("--model a.pt --vae b", "give --whisper too"),
        ("--cfg 2", "--cfg is of LatentSync"),
        ("--adapter gone.safetensors", f"no such file: {Path('gone.safetensors').absolute()}"),
        ("--gpus 2 --workers 2", "give either --gpus or --workers"),
        ("--mark tag,c2pa", "result.mkv cannot carry Content Credentials: take .mp4 or .mov"),
        ("--mark watermark --lossless", "a watermark changes pixels"),
        ("--mark watermark --watermark-weights gone.pth", f"no such model file: {Path('gone.pth').absolute()}"),
        ("--watermark-weights gone.pth", "weights of a watermark are given, but no watermark is asked for"),
        ("--mark stamp", "a mark must be one of tag, c2pa, watermark"),
    ],
)
def test_what_no_clip_can_have_is_told_once_before_the_work(given, tmp_path, capsys, more, says):
    try:
        code = cli.main([*given, *more.split()])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert not out
    assert not (tmp_path / "out" / RESULTS).exists()


def test_lossless_goes_into_one_container(given, capsys):
    assert cli.main([*given[:-1], "mp4", "--lossless"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: --lossless is FFV1, which goes into .mkv, not .mp4: leave --container out\n",
    )


@pytest.mark.parametrize(("files", "days", "says"), [
    (("leaf.pem", "leaf.key"), (-30, -1), "is not valid today: renew it"),
    (("leaf.pem", "other.key"), (-1, 30), "does not fit the certificate"),
])  # fmt: skip
def test_a_certificate_that_cannot_sign_is_told_once(given, tmp_path, capsys, files, days, says):
    pytest.importorskip("c2pa", reason="Content Credentials need c2pa-python: pip install c2pa-python")
    from tests.marks.certificates import write_pair

    write_pair(tmp_path, "leaf", days)
    write_pair(tmp_path, "other")
    certificate, key = (str(tmp_path / name) for name in files)
    words = [*given[:-1], "mp4", "--mark", "c2pa", "--certificate", certificate, "--key", key]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert says in err
    assert err.count("\n") == 1
    assert not out
    assert not list((tmp_path / "out").glob("*"))


def test_without_a_certificate_it_says_that_nothing_is_signed(given, capsys, monkeypatch):
    monkeypatch.delenv("OMNISYNC_C2PA_CERTIFICATE", raising=False)
    monkeypatch.delenv("OMNISYNC_C2PA_KEY", raising=False)
    assert cli.main([*given[:-1], "mp4", "--mark", "tag,c2pa"]) == 0
    assert "not signed: no certificate is named" in capsys.readouterr().out


def test_the_bundled_model_has_a_name(given, monkeypatch):
    monkeypatch.setattr(plan.ModelChoice, "identity", lambda self: {"model": str(self.model)})
    assert cli.main([*given, "--engine", "mini"]) == 0


def test_public_files_as_an_engine(tmp_path, capsys):
    """A batch over LatentSync's files makes what one job makes of them."""
    files = small.write_files(tmp_path)
    write_manifest(tmp_path / "list.csv", write_rows(tmp_path / "in", 1))
    work = ["--mouth", "centre", "--steps", "2", "--resolution", "256", "--lossless"]
    how = [*work, "--device", "cpu", "--dtype", "float32"]
    named = ["--engine", f"latentsync:{','.join(map(str, files))}"]
    assert cli.main(["batch", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out"), *named, *how]) == 0
    clip = ["--video", str(tmp_path / "in" / "v0.mkv"), "--audio", str(tmp_path / "in" / "a0.wav")]
    one = ["--model", str(files[0]), "--vae", str(files[1]), "--whisper", str(files[2])]
    assert cli.main(["lipsync", *clip, "--output", str(tmp_path / "one.mkv"), *one, *how]) == 0
    (row,) = read_results(tmp_path / "out" / RESULTS)
    assert row.state == "done"
    assert row.sha256 == file_digest(tmp_path / "one.mkv")


def test_where_no_clip_has_a_result_the_command_says_so(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("id,video,audio\na,gone.mp4,gone.wav\n", encoding="utf-8")
    assert cli.main(["batch", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "error: none of the 1 clips has a result; " in capsys.readouterr().err
    assert [row.state for row in read_results(tmp_path / "out" / RESULTS)] == ["refused"]
