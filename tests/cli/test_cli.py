"""The command line: every bad word gets one line and exit 2, commands import only what they need."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from omnisync_core import cli, pipeline
from omnisync_core.cli.bars import Bars
from omnisync_core.engines import omnisync
from omnisync_core.errors import CheckpointError, OutputError
from omnisync_core.job.options import Speaker, SyncOptions
from omnisync_core.job.report import Plan, Progress
from tests.fake import FakeEngine, pictures, write_sound, write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def loaded(monkeypatch):
    """What the engine was asked for; a tiny one is given."""
    asked = {}

    def load(model, **settings):
        asked.update(settings, model=model)
        return FakeEngine()

    monkeypatch.setattr(omnisync, "load_engine", load)
    return asked


@pytest.fixture
def files(tmp_path):
    write_video(tmp_path / "in.mkv", 10)
    write_sound(tmp_path / "in.wav", 0.4)
    return ["lipsync", "--video", str(tmp_path / "in.mkv"), "--audio", str(tmp_path / "in.wav"),
            "--output", str(tmp_path / "out.mp4")]  # fmt: skip


def test_lipsync_says_what_it_takes_and_what_it_did(loaded, files, tmp_path, capsys):
    assert cli.main([*files, "--mouth", "centre"]) == 0
    out, err = capsys.readouterr()
    plan, mark, law, result = out.splitlines()
    assert mark.startswith("marked as edited by a note in its metadata")
    assert "Article 50" in law
    assert plan.startswith("10 frames (0.4 s of video), 10 of them edited in 2 windows; about ")
    assert "of disk" in plan
    assert result.startswith(f"{tmp_path / 'out.mp4'}: 10 of 10 frames edited, ")
    assert "finding the mouth: 100%" in err
    assert "editing: 100%" in err
    assert "writing: 100%" in err
    assert len(pictures(tmp_path / "out.mp4")) == 10
    assert loaded == {"model": None, "guidance": {}}


def test_settings_arrive(loaded, files, monkeypatch, tmp_path):
    synced = {}

    def sync(video, audio, output, engine, options, progress, speakers):
        synced["options"] = options
        return pipeline.Report(str(output), 1, 1, 1, (), {}, 1, (), 0.5)

    monkeypatch.setattr(pipeline, "sync_video", sync)
    more = (
        "--model m.safetensors --prompt loud --steps 7 --tau 0.8 --seed 5 --w-peak 4 --w-base 1.5 --gamma 2 "
        "--convention paper --length bounce --silence keep --mouth 6,8.5 --preview 2.5 --lossless --resume "
        "--device cpu --dtype bfloat16"
    )
    assert cli.main([*files, *more.split()]) == 0
    assert synced["options"] == SyncOptions(
        seed=5, length="bounce", silence="keep", mouth=(6, 8.5), preview_seconds=2.5, lossless=True, resume=True
    )
    assert loaded == {
        "model": Path("m.safetensors"), "prompt": "loud", "steps": 7, "tau": 0.8, "device": "cpu", "dtype": "bfloat16",
        "guidance": {"w_peak": 4, "w_base": 1.5, "gamma": 2, "convention": "paper"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("--tau 0", "--tau: must be a number in (0, 1], got '0'"),
        ("--tau 1.01", "(0, 1]"),
        ("--tau nan", "(0, 1]"),
        ("--steps 0", "--steps: must be a whole number from 1 to 1000, got '0'"),
        ("--steps 2.5", "whole number"),
        ("--steps many", "whole number"),
        ("--seed -1", "--seed: must be a whole number from 0"),
        ("--w-peak inf", "--w-peak: must be a number in [0, 100]"),
        ("--w-base -1", "[0, 100]"),
        ("--gamma nan", "[0, 100]"),
        ("--preview 0", "--preview: must be a number in (0, infinity)"),
        ("--preview inf", "infinity"),
        ("--convention best", "floored"),
        ("--length pingpong", "cut_off"),
        ("--silence loud", "keep"),
        ("--mouth middle", "--mouth: must be auto, centre, X,Y or X,Y,WIDTH in pixels, got 'middle'"),
        ("--mouth 3", "X,Y"),
        ("--mouth 3,nan", "X,Y"),
        ("--mouth 3,4,0", "X,Y"),
        ("--dtype int8", "bfloat16"),
        ("--speaker a.wav", "SOUND@X,Y"),
        ("--speaker a.wav@auto", "SOUND@X,Y"),
        ("--speaker @3,4", "SOUND@X,Y"),
        ("--resolution 300", "512"),
        ("--fast", "--fast"),
        ("--seed 1 --seed 2", "--seed: is given twice"),
        ("--video a.mp4", "--video: is given twice"),
    ],
)
def test_bad_settings_are_one_line(files, capsys, given, says):
    with pytest.raises(SystemExit) as stop:
        cli.main([*files, *given.split()])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not out


def test_several_speakers_each_have_a_sound_and_a_point(loaded, files, monkeypatch, tmp_path):
    synced = {}

    def sync(video, audio, output, engine, options, progress, speakers):
        synced.update(speakers=speakers, sound=wavfile.read(audio)[1], options=options)
        return pipeline.Report(str(output), 1, 1, 1, (), {}, 1, (), 0.5)

    monkeypatch.setattr(pipeline, "sync_video", sync)
    write_sound(tmp_path / "b@home.wav", 0.6)
    first, second = f"{tmp_path / 'in.wav'}@20,30", f"{tmp_path / 'b@home.wav'}@44,30.5,9"
    without = [*files[:3], *files[5:]]
    assert cli.main([*without, "--speaker", first, "--speaker", second]) == 0
    assert synced["speakers"] == [
        Speaker(tmp_path / "in.wav", (20, 30)),
        Speaker(tmp_path / "b@home.wav", (44, 30.5, 9)),
    ]
    _, longer = wavfile.read(tmp_path / "b@home.wav")
    assert len(synced["sound"]) == len(longer)
    assert synced["options"].mouth == "auto"
    assert cli.main([*files, "--speaker", first]) == 0
    assert len(synced["sound"]) == len(wavfile.read(tmp_path / "in.wav")[1])


@pytest.mark.parametrize(
    ("more", "says"),
    [(["--mouth", "3,4"], "--mouth is for one mouth"), (["--show-mouth", "a.png"], "--show-mouth is for one mouth")],
)
def test_one_mouth_and_several_are_not_mixed_up(loaded, files, capsys, more, says):
    assert cli.main([*files, "--speaker", f"{files[4]}@3,4", *more]) == 2
    assert says in capsys.readouterr().err


def test_without_any_sound_it_says_what_to_give(loaded, files, capsys):
    assert cli.main([*files[:3], *files[5:]]) == 2
    assert "--speaker SOUND@X,Y" in capsys.readouterr().err


def test_help_of_lipsync_is_grouped_and_fits_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        cli.main(["lipsync", "--help"])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) <= 60
    assert all(
        group in printed for group in ("files:", "what happens:", "model:", "guidance", "LatentSync's public files")
    )


@pytest.mark.parametrize(
    "given", ["", "dance", "lipsync", "lipsync --video v", "evaluate", "synth --clips 0 --out x", "train", "demo"]
)
def test_bad_commands_are_one_line(capsys, given):
    with pytest.raises(SystemExit) as stop:
        cli.main(given.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_bad_files_are_one_line(loaded, files, tmp_path, capsys):
    wavfile.write(tmp_path / "nan.wav", 16000, np.full(1600, np.nan, np.float32))
    for flag, name in (("--video", "none.mp4"), ("--audio", "nan.wav"), ("--output", "in.mkv")):
        given = list(files)
        given[given.index(flag) + 1] = str(tmp_path / name)
        assert cli.main(given) == 2
        out, err = capsys.readouterr()
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert name in err
        assert not out


@pytest.mark.parametrize("error", [CheckpointError("m is cut off"), OutputError("cannot write o: no space")])
def test_errors_of_the_model_and_the_disk(files, monkeypatch, capsys, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(omnisync, "load_engine", fail)
    assert cli.main(files) == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_an_interrupt_keeps_finished_windows(loaded, files, tmp_path, capsys, monkeypatch):
    class Interrupted(FakeEngine):
        def edit_window(self, *arguments):
            if self.calls:
                raise KeyboardInterrupt
            return super().edit_window(*arguments)

    monkeypatch.setattr(omnisync, "load_engine", lambda *_, **__: Interrupted())
    assert cli.main([*files, "--mouth", "30,30"]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"finished windows are kept in {tmp_path / 'out.mp4.omnisync'}" in last
    again = last.split("python -m omnisync_core ")[1].split()
    assert again == [*files, "--mouth", "30,30", "--resume"]
    monkeypatch.setattr(omnisync, "load_engine", lambda *_, **__: FakeEngine())
    assert cli.main(again) == 0
    assert not (tmp_path / "out.mp4.omnisync").exists()


def test_an_interrupt_before_anything_is_done(loaded, files, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Bars, "__call__", interrupt)
    assert cli.main(files) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"


@pytest.mark.parametrize("name", ["out.mp4/", "there/", "/"])
def test_a_folder_is_no_output(files, capsys, name):
    with pytest.raises(SystemExit) as stop:
        cli.main([*files[:-1], name])
    assert stop.value.code == 2
    assert f"must be a file, got the folder {name!r}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_way_to_be_stopped_says_the_same(loaded, files, tmp_path, capsys, monkeypatch, name):
    number = getattr(signal, name)

    class Ended(FakeEngine):
        def edit_window(self, *arguments):
            if self.calls:
                os.kill(os.getpid(), number)
            return super().edit_window(*arguments)

    monkeypatch.setattr(omnisync, "load_engine", lambda *_, **__: Ended())
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)  # a shell's background job is started with SIGINT ignored
    try:
        assert cli.main([*files, "--mouth", "centre"]) == 128 + number
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"finished windows are kept in {tmp_path / 'out.mp4.omnisync'}. Go on with: python -m" in last


def test_who_ignores_a_closing_terminal_still_does(loaded, files, monkeypatch):
    class Hung(FakeEngine):
        def edit_window(self, *arguments):
            os.kill(os.getpid(), signal.SIGHUP)
            return super().edit_window(*arguments)

    monkeypatch.setattr(omnisync, "load_engine", lambda *_, **__: Hung())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.main([*files, "--mouth", "centre"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_bars_survive_a_resumed_job(capsys):
    plan = Plan(5, 0.2, 5, 3, 2, 61.0, 2_500_000)
    with Bars() as bars:
        for progress in (Progress("planned", 2, 3, plan), Progress("editing", 7, 9), Progress("writing", 1, 5)):
            bars(progress)
    out = capsys.readouterr().out
    assert out == "5 frames (0.2 s of video), 5 of them edited in 3 windows (2 of them done before); " + (
        "about 1 min 1 s, 2 MB of disk\n"
    )


def test_lipsync_imports_nothing_of_training():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from omnisync_core import cli\n"
        "heavy = [m for m in ('torch', 'av', 'scipy') if m in sys.modules]\n"
        "assert cli.main(['lipsync', '--video', 'none', '--audio', 'none', '--output', 'none.mp4',"
        " '--model', 'none']) == 2\n"
        "rooms = ('synth', 'training', 'evaluation', 'demo')\n"
        "print(heavy, [m for m in sys.modules if m.split('.')[1:2] and m.startswith('omnisync_core')"
        " and m.split('.')[1] in rooms], 'espeakng_loader' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True)
    assert done.stdout == "[] [] False\n", done.stderr
