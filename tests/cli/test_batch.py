"""`python -m omnisync_core batch`: plan, bar, table, one line for what is wrong."""

import signal

import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")

from omnisync_core import cli
from omnisync_core.batch import plan
from omnisync_core.batch.outcome import RESULTS, read_results
from omnisync_core.manifest import write_manifest
from tests.batch.batches import Napping, write_rows


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The command's words for three clips, with an engine that is none."""
    write_manifest(tmp_path / "list.csv", write_rows(tmp_path / "in", 3))
    monkeypatch.setattr(plan.BundleChoice, "load", lambda self: Napping(0))
    out = tmp_path / "out"
    return ["batch", str(tmp_path / "list.csv"), "--out", str(out), "--mouth", "centre", "--container", "mkv"]


def test_a_list_of_clips(given, tmp_path, capsys):
    (tmp_path / "in" / "a1.wav").unlink()
    assert cli.main(given) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "3 clips: 0 done before, 1 cannot be read, 2 to do with 1 s of video"
    assert out.splitlines()[1].startswith(f"{tmp_path / 'out' / RESULTS}: 2 done, 1 refused; ")
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
        patch.setattr(plan.BundleChoice, "load", lambda self: Stopped(0))
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
