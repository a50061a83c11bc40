"""A bench as a whole: every clip a row, nothing twice, a broken clip a row that says why."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from omnisync_core.bench import measure, registry
from omnisync_core.bench import run as bench
from omnisync_core.bench.engines import Maker
from omnisync_core.bench.frechet import distance
from omnisync_core.bench.measure import Column, Measure, Metric, Taking
from omnisync_core.bench.prepare import prepare
from omnisync_core.bench.run import run
from omnisync_core.bench.sheet import write_sheet
from omnisync_core.bench.table import markdown, read_bench
from omnisync_core.cli import main
from omnisync_core.errors import InputError
from omnisync_core.evaluation import bench as evaluation
from omnisync_core.evaluation.figures import ClipFigures, pooled
from omnisync_core.manifest import read_manifest
from omnisync_core.synth.clips import read_clip, read_video, write_clips, write_video
from omnisync_core.tables import read_table
from tests.bench.benches import Levels, bench_of, quiet, states

pytest.importorskip("pyarrow", reason="benches are written as Parquet: pip install -r requirements-bench.txt")


def test_every_clip_is_a_row_in_parquet_json_and_markdown(clips, seen):
    records = bench_of(clips)
    assert states(records) == [(f"clip {at}", "done", "") for at in range(3)]
    rows = read_table(clips / "out" / "results.parquet")
    assert [row["id"] for row in rows] == ["clip 0", "clip 1", "clip 2"]
    levels = [read_video(clips / f"v{at}.mkv").mean() for at in range(3)]
    assert np.allclose([row["lmd"] for row in rows], levels, atol=0.01)
    assert np.isnan(rows[0]["csim"])
    table = (clips / "out" / "table.md").read_text(encoding="utf-8")
    assert f"| source | 3 of 3 | – | {np.mean(levels):.3f} [" in table
    assert "csim: needs the file absent.bin" in table
    assert "example.org/weights (MIT)" in table


def test_the_sheet_shows_every_clip(clips):
    records = bench_of(clips, metrics=("cost",))
    page = cv2.imread(str(clips / "out" / "sheet.png"))
    assert page.shape[1] == 1600
    assert page.shape[0] > 3 * 100
    write_sheet(clips / "one.png", records[:1], "one")
    assert cv2.imread(str(clips / "one.png")).shape[0] < page.shape[0]


def test_what_is_done_is_not_done_again(clips, seen):
    bench_of(clips, limit=2)
    assert seen == ["clip 0", "clip 1"]
    bench_of(clips)
    assert seen == ["clip 0", "clip 1", "clip 2"]


def test_another_source_or_other_frames_are_measured_anew(clips, seen):
    bench_of(clips)
    write_video(clips / "v1.mkv", np.zeros((20, 48, 64, 3), np.uint8), 25)
    bench_of(clips)
    assert seen[3:] == ["clip 1"]
    bench_of(clips, frames=4)
    assert seen[4:] == ["clip 0", "clip 1", "clip 2"]


def test_other_frames_ask_for_no_new_result(clips, seen):
    made = []

    class Counting(Maker):
        name = "counting"

        def fingerprint(self, row):
            return {}

        def make(self, row, output):
            made.append(row.id)
            return row.video, {}

    bench_of(clips, Counting(), limit=1)
    bench_of(clips, Counting(), limit=1, frames=4)
    assert made == ["clip 0"]
    assert seen == ["clip 0", "clip 0"]


def test_a_bench_that_was_stopped_goes_on(clips, seen):
    def stop(line):
        if "clip 1" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_of(clips, say=stop)
    bench_of(clips)
    assert seen == ["clip 0", "clip 1", "clip 2"]


def test_a_record_that_was_cut_off_is_made_anew(clips, seen):
    bench_of(clips)
    path = clips / "out" / "clips" / "clip 0.json"
    path.write_bytes(path.read_bytes()[:100])
    assert states(bench_of(clips))[0] == ("clip 0", "done", "")
    assert seen[3:] == ["clip 0"]


def test_broken_clips_are_rows_with_the_reason(clips, seen):
    (clips / "v0.mkv").unlink()
    (clips / "v1.mkv").write_bytes(b"no video")
    records = bench_of(clips)
    assert [record["state"] for record in records] == ["refused", "refused", "done"]
    assert "row 1: there is no video file v0.mkv" in records[0]["reason"]
    assert "v1.mkv" in records[1]["reason"]
    assert "\n" not in records[1]["reason"]
    rows = read_table(clips / "out" / "results.parquet")
    assert [row["reason"] for row in rows[:2]] == [record["reason"] for record in records[:2]]
    assert "clip 0: refused: row 1" in (clips / "out" / "table.md").read_text(encoding="utf-8")


def test_where_no_clip_is_done_the_command_says_so(clips, capsys):
    """The table is there all the same, with each row's reason."""
    given = ["bench", "run", str(clips / "list.csv"), "--out", str(clips / "out")]
    (clips / "theirs").mkdir()
    assert main([*given, "--engine", f"results:{clips / 'theirs'}", "--metrics", "cost"]) == 2
    assert "error: none of the 3 clips is done; the first: " in capsys.readouterr().err
    assert {row["state"] for row in read_table(clips / "out" / "results.parquet")} == {"refused"}


def test_a_missing_file_in_row_37_is_row_37_s(clips):
    lines = [f"clip {at},{'gone' if at == 37 else 'v0'}.mkv,s0.wav" for at in range(1, 41)]
    (clips / "list.csv").write_text("\n".join(["id,video,audio", *lines]))
    said = []
    records = bench_of(clips, metrics=("cost",), say=said.append)
    assert [record["number"] for record in records if record["state"] != "done"] == [37]
    assert records[36]["reason"] == "row 37: there is no video file gone.mkv"
    assert "[37/40] clip 37: refused: row 37: there is no video file gone.mkv" in said
    assert "clip 37: refused: row 37" in (clips / "out" / "table.md").read_text(encoding="utf-8")


def test_two_clips_with_one_id_cost_the_second(clips, seen):
    text = (clips / "list.csv").read_text()
    (clips / "list.csv").write_text(text.replace("clip 1", "clip 0"))
    records = bench_of(clips)
    assert [record["state"] for record in records] == ["done", "refused", "done"]
    assert "row 1 has the same id" in records[1]["reason"]
    assert len({record["id"] for record in records}) == 3


class Broken(Maker):
    name = "broken"

    def fingerprint(self, row):
        return {}

    def make(self, row, output):
        if row.id == "clip 1":
            raise ZeroDivisionError("of all things")
        return row.video, {}


def test_an_unexpected_error_is_that_clip_s_alone(clips, seen):
    records = bench_of(clips, Broken())
    assert states(records)[1] == ("clip 1", "failed", "ZeroDivisionError: of all things")
    assert [records[0]["state"], records[2]["state"]] == ["done", "done"]


class Failing(Measure):
    def begin(self, clip):
        return FailsLate() if clip.row.id == "clip 0" else Levels()


class FailsLate(Taking):
    def see(self, moment):
        if moment.index > 3:
            raise RuntimeError("shape mismatch\nand a long trace")


def test_a_metric_that_fails_on_a_clip_leaves_the_others_alone(clips, seen, monkeypatch):
    metric = Metric("lse", (Column("lse_c", "LSE-C"),), lambda folder, device: Failing())
    monkeypatch.setitem(registry.METRICS, "lse", metric)
    records = bench_of(clips, metrics=("lmd", "lse"))
    assert [record["state"] for record in records] == ["done"] * 3
    assert records[0]["metrics"]["lse"]["note"] == "RuntimeError: shape mismatch"
    assert records[0]["metrics"]["lmd"]["values"]
    assert read_table(clips / "out" / "results.parquet")[0]["reason"] == "lse: RuntimeError: shape mismatch"


def test_a_metric_that_is_none_is_refused_before_any_work(clips):
    with pytest.raises(InputError, match="no metric is called 'fidd'; there are fid, fvd"):
        bench_of(clips, metrics=("fidd",))


def test_every_missing_metric_names_file_place_and_licence(tmp_path):
    """Without any weights: a line for each metric that needs some."""
    needing = [metric for metric in registry.METRICS.values() if metric.files]
    assert {metric.name for metric in needing} == {
        "fid", "fvd", "csim", "niqe", "brisque", "hyperiqa", "lmd", "lse", "lpips",
    }  # fmt: skip
    measures, lacking = measure.opened(needing, tmp_path, "cpu")
    assert not measures
    for metric in needing:
        file = metric.files[0]
        for part in (file.name, str(tmp_path), file.place, file.licence):
            assert part in lacking[metric.name]


def test_fvd_s_row_is_the_distance_of_all_features_and_its_floor_that_of_halves(clips, seen):
    """Four clips: the result is the first one's frames for all of them."""
    text = (clips / "list.csv").read_text()
    (clips / "list.csv").write_text(text + "clip 3,v1.mkv,s1.wav,,,\n")
    folder = clips / "theirs"
    folder.mkdir()
    for at in range(4):
        shutil.copy(clips / "v0.mkv", folder / f"clip {at}.mkv")
    bench_of(clips, f"results:{folder}", ("fvd",))
    benched = read_bench(clips / "out")
    levels = [[frame.mean() for frame in read_video(clips / f"v{at}.mkv")] for at in (0, 1, 2, 1)]
    real = np.array([[level, level % 7] for clip in levels for level in clip])
    made = np.array([[level, level % 7] for level in levels[0]] * 4)
    assert abs(benched.columns["fvd"].value - distance(real, made)) < 0.05
    assert np.isfinite([benched.columns["fvd"].low, benched.columns["fvd"].high]).all()
    assert "| real against real |" in markdown([benched])


def test_several_benches_and_a_paper_stand_in_one_table(clips, seen):
    bench_of(clips)
    other = clips / "other"
    run(clips / "list.csv", "truth", other, metrics=("lmd",), say=quiet)
    table = markdown([read_bench(clips / "out"), read_bench(other)], "hdtf")
    assert "| source | 3 of 3 |" in table
    assert "| truth | 1 of 3 |" in table
    assert "*OmniSync, printed* |  | 7.855 | 199.627 | 0.875 |" in table
    assert "arXiv 2505.21448, HDTF |" in table
    widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_what_a_bench_names_is_found_from_any_folder(clips, seen, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(clips)
    run(Path("list.csv"), "truth", Path("out"), metrics=("psnr",), say=quiet)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for row in read_bench(clips / "out").done:
        assert all(Path(row[name]).is_file() for name in ("video", "audio", "truth"))
        assert Path(row["made"]["path"]).is_file()


def test_what_all_benches_lack_is_said_once(clips, seen):
    for name, engine in (("one", "source"), ("two", "truth")):
        run(clips / "list.csv", engine, clips / name, metrics=("cost",), say=quiet)
    benches = [read_bench(clips / name) for name in ("one", "two")]
    shared, own = (set(benches[0].lines()) & set(benches[1].lines())), set(benches[1].lines()) - set(benches[0].lines())
    assert shared
    assert own
    table = markdown(benches)
    assert all(table.count(line) == 1 for line in shared | own)
    assert all(f"* {line}\n" in table for line in shared)
    assert all(f"* truth: {line}\n" in table for line in own)


def test_a_folder_that_is_no_bench_is_told(tmp_path):
    with pytest.raises(InputError, match=r"holds no results\.json"):
        read_bench(tmp_path)
    whole = {"format": 1, "engine": "e", "metrics": [], "lacking": {}, "rows": [{}]}
    for text in ('{"format": 99}', "[]", '{"format": 1}', "{", json.dumps(whole), json.dumps(whole | {"rows": [3]})):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(InputError, match="damaged or of another version"):
            read_bench(tmp_path)


def test_the_bench_of_another_engine_stays(clips, seen):
    bench_of(clips)
    before = (clips / "out" / "results.json").read_bytes()
    with pytest.raises(InputError, match=r"holds the bench of .* this one is of 'truth': give another --out"):
        bench_of(clips, "truth")
    assert (clips / "out" / "results.json").read_bytes() == before


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, write_clips(folder, clips=2, seed=4, size=96, seconds=0.6)


def test_the_drawn_world_s_table_is_that_of_evaluate(drawn, tmp_path):
    """The sources as results: every figure of `evaluate synth`, clip by clip and pooled."""
    folder, clips = drawn
    assert prepare("folder", folder, tmp_path / "list.csv") == 2
    run(tmp_path / "list.csv", "source", tmp_path / "out", metrics=["drawn"], say=quiet)
    expected = [one.figures for one in evaluation.take(clips, "source")]
    benched = read_bench(tmp_path / "out")
    for row, figures in zip(benched.done, expected, strict=True):
        detail = row["metrics"]["drawn"]["detail"]
        known = json.loads(json.dumps(asdict(figures)))
        for name in known.keys() - {"name", "outside"}:  # whose edit it was is not known: its mask is not either
            assert detail[name] == known[name], name
    pool = pooled(expected)
    for ours, theirs in (("share", "share"), ("sync_r", "sync_r"), ("leak", "leak"), ("mouth_ssim", "ssim"),
                         ("mouth_gmsd", "gmsd"), ("edges", "edges")):  # fmt: skip
        assert benched.columns[ours] == pool[theirs]


def test_the_mini_s_row_is_that_of_evaluate(drawn, tmp_path):
    """The shipped bundle through both: the same click, prompt and sampling give the same figures to the last bit."""
    folder, clips = drawn
    prepare("folder", folder, tmp_path / "list.csv")
    record = run(tmp_path / "list.csv", "mini", tmp_path / "out", metrics=["drawn"], limit=1, say=quiet)[0]
    expected = evaluation.run(clips[:1], evaluation.bundled(), "result", evaluation.own())[0].figures
    assert ClipFigures(**record["metrics"]["drawn"]["detail"]) == expected


def test_a_drawn_clip_s_row_says_truth_mouth_and_prompt(drawn, tmp_path):
    folder, clips = drawn
    prepare("folder", folder, tmp_path / "list.csv")
    row, clip = read_manifest(tmp_path / "list.csv")[0], read_clip(clips[0])
    assert row.mouth == clip.point
    assert row.other["prompt"] == clip.caption
    assert row.truth == clips[0] / "truth.mkv"
    assert row.id == "clip_0000"


def test_progress_is_told_a_line_a_clip(clips, seen):
    lines = []
    bench_of(clips, say=lines.append)
    assert [line.split(":")[0] for line in lines[1:4]] == ["[1/3] clip 0", "[2/3] clip 1", "[3/3] clip 2"]
    assert bench.FRAMES == 32
