"""A study: the page is blinded and whole, people rate it in a real browser, and the answers become the right tables."""

import asyncio
import base64
import io
import json
import math
import re

import av
import numpy as np
import pytest

from omnisync_core.bench import answers, study
from omnisync_core.bench.answers import cronbach, find, markdown, read_study, wilson
from omnisync_core.bench.study_figure import draw
from omnisync_core.cli import main
from omnisync_core.errors import InputError
from omnisync_core.synth.clips import read_video
from tests.bench.browser import Browser, find_browser


def benched(clips, name, skip=()):
    """What a bench of three clips leaves, without measuring."""
    folder = clips / name
    folder.mkdir()
    rows = []
    for at, style in enumerate(("realistic", "stylised", "stylised")):
        row = {"id": f"clip {at}", "state": "refused" if at in skip else "done", "style": style, "reason": "-",
                "video": str(clips / f"v{at}.mkv"), "audio": str(clips / f"s{at}.wav"), "truth": None, "metrics": {},
                "made": {"path": str(clips / f"v{(at + len(name)) % 3}.mkv")}}  # fmt: skip
        rows.append(row)
    (folder / "results.json").write_text(json.dumps({"format": 1, "engine": name, "metrics": [], "lacking": {},
                                                     "rows": rows}))  # fmt: skip
    return folder


@pytest.fixture
def page(clips):
    folders = [benched(clips, "ours"), benched(clips, "their")]
    return study.make(folders, clips / "study.html", say=lambda line: None)


def content_of(page):
    return json.loads(re.search(r"const STUDY = (.*);\n", page.read_text(encoding="utf-8"))[1])


def key_of(page):
    return json.loads(page.with_name("study.key.json").read_text())


def test_the_page_says_nothing_of_whose_a_video_is(page):
    text = page.read_text(encoding="utf-8")
    without_videos = re.sub(r'"videos": \{.*?\}', "", text)
    assert not re.search(r"\b(ours|their|clip \d)\b", without_videos)
    assert "://" not in without_videos
    assert not re.search(r"<[^>]*\ssrc=", without_videos)
    content, key = content_of(page), key_of(page)
    assert [len(one) for one in content["sets"]].count(2) == 2
    assert sum(map(len, content["sets"])) == 7  # one holds a check
    assert {token for one in content["sets"] for token in one} == set(key["videos"]) == set(content["videos"])
    assert sum(video["method"] is None for video in key["videos"].values()) == 1


def test_two_studies_of_the_same_folders_share_no_token(clips, page):
    other = study.make([clips / "ours", clips / "their"], clips / "other.html", say=lambda line: None)
    assert not {*content_of(page)["videos"]} & {*content_of(other)["videos"]}


def test_every_video_is_what_browsers_play_with_the_row_s_sound(clips, page):
    content, key = content_of(page), key_of(page)
    for token, video in key["videos"].items():
        with av.open(io.BytesIO(base64.b64decode(content["videos"][token]))) as file:
            stream, sound = file.streams.video[0], file.streams.audio[0]
            assert (stream.codec_context.name, stream.pix_fmt, sound.codec_context.name) == ("h264", "yuv420p", "aac")
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
            assert not file.metadata.get("title")
        at = int(video["clip"][-1])
        shown = {"ours": (at + 4) % 3, "their": (at + 5) % 3, None: at}[video["method"]]
        source = read_video(clips / f"v{shown}.mkv").astype(int)
        assert frames.shape == source.shape
        error = [np.abs(frames - read_video(clips / f"v{n}.mkv").astype(int)).mean() for n in range(3)]
        assert int(np.argmin(error)) == shown


def test_large_videos_lie_in_a_folder_beside_the_page(clips, monkeypatch):
    monkeypatch.setattr(study, "LARGEST_PAGE", 10_000)
    page = study.make([benched(clips, "ours")], clips / "study.html", say=lambda line: None)
    content = content_of(page)
    assert content["folder"] == "study_videos"
    assert "videos" not in content
    assert {path.stem for path in (clips / "study_videos").iterdir()} == set(key_of(page)["videos"])


def test_a_title_cannot_break_out_of_the_page(clips):
    page = study.make([benched(clips, "ours")], clips / "s.html", title="</script><b>", say=lambda line: None)
    assert "</script><b>" not in page.read_text(encoding="utf-8")
    assert content_of(page)["title"] == "</script><b>"


def test_one_method_is_said_and_made(clips):
    lines = []
    study.make([benched(clips, "ours")], clips / "study.html", say=lines.append)
    assert "one method only" in lines[0]
    assert "study.key.json" in lines[1]


def test_only_clips_that_all_have_are_shown(clips):
    folders = [benched(clips, "ours", skip=(0,)), benched(clips, "their", skip=(2,))]
    page = study.make(folders, clips / "study.html", say=lambda line: None)
    assert {video["clip"] for video in key_of(page)["videos"].values()} == {"clip 1"}


def test_a_clip_that_cannot_be_shown_is_a_line_and_the_rest_is_made(clips):
    """One whose sound file holds none, as `bench run` may well have measured it; then all of them."""
    ours, lines = benched(clips, "ours"), []
    (clips / "s1.wav").write_bytes((clips / "v1.mkv").read_bytes())
    page = study.make([ours], clips / "study.html", say=lines.append)
    assert lines[1].startswith("clip 1: left out: no sound track")
    assert "2 clips, 3 videos" in lines[2]
    key, content = key_of(page), content_of(page)
    assert {video["clip"] for video in key["videos"].values()} == {"clip 0", "clip 2"}
    assert sum(video["method"] is None for video in key["videos"].values()) == 1
    assert len(content["ratios"]) == len(content["sets"]) == 2
    for at in (0, 2):
        (clips / f"s{at}.wav").write_bytes((clips / "v1.mkv").read_bytes())
    with pytest.raises(InputError, match="none of the clips can be shown"):
        study.make([ours], clips / "none.html", say=lines.append)
    assert not (clips / "none.html").exists()


def test_bad_studies_are_refused_in_one_line(clips):
    ours, none = benched(clips, "ours"), benched(clips, "none", skip=(0, 1, 2))
    for arguments, message in (
        (([ours, none], "s.html"), "no clip is done in all"),
        (([ours, ours], "s.html"), "two methods are called 'ours'"),
        (([ours], "s.pdf"), r"must end in \.html"),
        (([clips], "s.html"), "holds no results"),
    ):
        with pytest.raises(InputError, match=message):
            study.make(arguments[0], clips / arguments[1], say=lambda line: None)
    with pytest.raises(InputError, match="1 names for 2 folders"):
        study.make([ours, none], clips / "s.html", names=["a"], say=lambda line: None)


STAYS = """
{
  const top = (one) => Math.round(one.getBoundingClientRect().top + scrollY);
  const seen = [...document.querySelectorAll("#form label, #tabs button, #next")].map((one) => [one, top(one)]);
  window.moved = () => seen.filter(([one, was]) => !one.isConnected || top(one) !== was).map(([one]) => one.outerHTML);
}
"""
"""Remembers what can be tapped; `moved()`: what was made anew or moved since, under a finger that was on its way."""


@pytest.mark.skipif(find_browser() is None, reason="NO BROWSER: the study's page is not tested (apt install chromium)")
def test_two_people_pass_the_page_in_a_browser(clips, page, monkeypatch):
    """One with keys and a reload in the middle, one by touch on a phone; their files become the table."""
    saved = clips / "answers"
    saved.mkdir()
    monkeypatch.setattr(study, "LARGEST_PAGE", 10_000)
    beside = study.make([clips / "ours", clips / "their"], clips / "beside.html", say=lambda line: None)

    async def with_keys(browser):
        person = await browser.page(page)
        await person.run("document.getElementById('name').value = 'Ann'; document.getElementById('start').click()")
        await person.until("document.getElementById('video').readyState >= 2")
        assert await person.run("document.getElementById('video').videoWidth") == 64
        total = await person.run("all().length")
        for done in range(total):
            keys = "43215"
            if done == 3:  # in the middle of a version
                for key in keys[:2]:
                    await person.press(key)
                keys, before = keys[2:], await person.run("JSON.stringify(state)")
                await person.reload()
                assert await person.run("JSON.stringify(state)") == before
                assert await person.run("document.getElementById('start').textContent") == "Go on"
                await person.run("document.getElementById('start').click()")
            assert await person.run("document.getElementById('next').disabled")
            for key in keys:
                await person.press(key)
            await person.press("n" if done % 2 else "y")
            assert not await person.run("document.getElementById('next').disabled")
            await person.press("Enter")
        await person.until("!document.getElementById('end').hidden")
        await keep(person, total)

    async def by_touch(browser):
        person = await browser.page(page, 390, 800)
        mixed = [json.loads(await person.run("JSON.stringify(shuffled([...Array(20).keys()]))")) for _ in range(2)]
        assert mixed[0] != mixed[1], "everybody sees an order of chance"
        assert sorted(mixed[0]) == list(range(20))
        await person.run("document.getElementById('start').click();" + STAYS)  # before the video is loaded
        assert await person.run("document.documentElement.scrollWidth <= 390")
        total = await person.run("all().length")
        for _ in range(total):
            for question in range(6):
                value = 1 if question == 5 else 2 + question % 4
                await person.run(f"document.querySelector('[name=q{question}][value=\"{value}\"]').click()")
            await person.until("document.getElementById('video').readyState >= 2")
            assert await person.run("moved()") == []
            await person.run("document.getElementById('next').click();" + STAYS)
            await person.until("scrollY === 0")  # the next version begins with its first question
        await keep(person, total)

    async def from_a_folder(browser):
        person = await browser.page(beside)
        await person.run("document.getElementById('start').click()")
        await person.until("document.getElementById('video').readyState >= 2")
        assert "beside_videos/" in await person.run("document.getElementById('video').currentSrc")

    async def keep(person, total):
        result = await person.run("JSON.stringify(result())")
        assert len(json.loads(result)["answers"]) == total == 7
        await person.save_into(saved)
        before = len(list(saved.glob("*.json")))
        await person.run("document.getElementById('save').click()")
        while len(list(saved.glob("*.json"))) == before:
            await asyncio.sleep(0.05)

    async def whole():
        async with Browser() as browser:
            await with_keys(browser)
            await by_touch(browser)
            await from_a_folder(browser)

    asyncio.run(asyncio.wait_for(whole(), 400))
    found = read_study(sorted(saved.glob("*.json")))
    assert len(found.raters) == 2
    assert not found.notes
    ann = next(rater for rater in found.raters if rater.name == "Ann")
    other = next(rater for rater in found.raters if rater.name != "Ann")
    assert all(scores.tolist() == [4, 3, 2, 1, 5] for scores in ann.scores.values())
    assert all(scores.tolist() == [2, 3, 4, 5, 2] for scores in other.scores.values())
    assert sum(ann.sync.values()) == 4
    assert all(other.sync.values())
    assert other.failed == 1
    assert other.is_inattentive  # said yes to the foreign sound as well


def test_the_command_line_makes_a_page_and_reads_answers(clips, capsys):
    ours = benched(clips, "ours")
    assert main(["bench", "study", str(ours), "--out", str(clips / "study.html"), "--limit", "2"]) == 0
    key = key_of(clips / "study.html")
    given = [{"video": token, "scores": [4] * 5, "sync": video["method"] is not None, "seconds": 1}
             for token, video in key["videos"].items()]  # fmt: skip
    sent = {"format": 1, "study": key["study"], "rater": "a", "name": "Ann", "answers": given}
    (clips / "ann.json").write_text(json.dumps(sent))
    assert main(["bench", "study", "read", str(clips / "ann.json"), "--out", str(clips / "read")]) == 0
    assert "| ours | 4.00 [4.00, 4.00] |" in capsys.readouterr().out
    assert {path.name for path in (clips / "read").iterdir()} == {"study.md", "study.json", "study.png"}
    assert main(["bench", "study", "read"]) == 2
    assert "needs the files that people saved" in capsys.readouterr().err


CRITERIA = [name for name, _ in study.CRITERIA]


def study_of(tmp_path, people, methods=("ours", "their"), clips=6, check=False):
    """A key and answers files of a study: `people` maps names to score(method, clip) and in_sync(method, clip)."""
    videos = {f"{method}{at}": {"clip": f"c{at}", "method": method, "style": "stylised" if at % 2 else "realistic"}
              for at in range(clips) for method in methods}  # fmt: skip
    if check:
        videos |= {"check0": {"clip": "c0", "method": None, "style": None}}
    key = {"format": 1, "study": "abc", "names": list(methods), "criteria": CRITERIA, "videos": videos}
    (tmp_path / "study.key.json").write_text(json.dumps(key))
    paths = []
    for name, (score, in_sync) in people.items():
        given = [
            {"video": token, "sync": in_sync(video["method"], int(video["clip"][1:])), "seconds": 3,
             "scores": [score(video["method"], int(video["clip"][1:]))] * 5}
            for token, video in videos.items()
        ]  # fmt: skip
        paths.append(tmp_path / f"{name}.json")
        sent = {"format": 1, "study": "abc", "rater": f"id {name}", "name": name, "answers": given}
        paths[-1].write_text(json.dumps(sent))
    return paths


def yes(method, clip):
    return True


def test_mean_scores_success_and_wins_are_those_that_were_given(tmp_path):
    people = {
        "a": (lambda m, c: 4 if m == "ours" else 3, lambda m, c: m == "ours" or c % 2 == 0),
        "b": (lambda m, c: 5 if m == "ours" else 3, lambda m, c: m == "ours" or c % 2 == 0),
        "c": (lambda m, c: 3, lambda m, c: True),
    }
    found = read_study(study_of(tmp_path, people))
    findings = find(found)
    assert abs(findings.scores["ours"]["lip sync"].value - 4) < 1e-12
    assert abs(findings.scores["their"]["all"].value - 3) < 1e-12
    ours = findings.scores["ours"]["all"]
    assert 3 <= ours.low < 4 < ours.high <= 5
    assert findings.scores["their"]["all"].low == 3
    share, count = findings.success["their"]["all"]
    assert (share.value, count) == (0.5, 6)
    assert findings.success["their"]["stylised"][0].value == 0
    assert findings.success["ours"]["all"][0].value == 1
    assert findings.wins == {("ours", "their"): (12, 6, 0)}
    table = markdown(found, findings)
    assert "| ours | 4.00 [" in table
    assert "| ours against their | 12 | 6 | 0 | 100.0 [" in table
    assert draw(found, findings).shape[1] == 1280
    json.dumps(answers.as_json(found, findings), allow_nan=False)


def test_cronbach_s_alpha_is_the_textbook_s():
    """A worked case: total variance 9.5 of item variances 1.7 and 3.2 gives 2 (1 - 4.9 / 9.5)."""
    scores = np.array([[1, 2], [2, 4], [3, 3], [4, 6], [3, 5]], float)
    items, total = scores.var(axis=0, ddof=1).sum(), scores.sum(1).var(ddof=1)
    assert abs(cronbach(scores) - 2 * (1 - items / total)) < 1e-12
    twins = np.repeat(np.arange(5.0)[:, None], 3, 1)
    assert abs(cronbach(twins) - 1) < 1e-12
    assert math.isnan(cronbach(scores[:, :1]))
    assert math.isnan(cronbach(np.full((4, 2), 3.0)))
    half = np.vstack([scores, [np.nan, 3]])
    assert cronbach(half) == cronbach(scores)


@pytest.mark.parametrize(("yes_count", "low", "high"), [(0, 0.0, 0.2775), (5, 0.2366, 0.7634), (10, 0.7225, 1.0)])
def test_wilson_s_interval_of_ten(yes_count, low, high):
    found = wilson(yes_count, 10)
    assert np.allclose([found.value, found.low, found.high], [yes_count / 10, low, high], atol=1e-4)


def test_people_who_call_a_foreign_sound_in_sync_are_left_out_and_named(tmp_path):
    people = {
        "careful": (lambda m, c: 4, lambda m, c: m is not None),
        "careless": (lambda m, c: 1, yes),
    }
    found = read_study(study_of(tmp_path, people, check=True))
    findings = find(found)
    assert findings.scores["ours"]["all"].value == 4
    assert "careless: left out" in markdown(found, findings)


def test_all_inattentive_is_told(tmp_path):
    found = read_study(study_of(tmp_path, {"a": (lambda m, c: 1, yes)}, check=True))
    with pytest.raises(InputError, match="nobody's answers count"):
        find(found)


def test_raters_who_stand_apart_are_named(tmp_path):
    people = {name: (lambda m, c: 1 + (c % 4), yes) for name in ("a", "b", "c")}
    people["against"] = (lambda m, c: 4 - (c % 4), yes)
    people["harsh"] = (lambda m, c: 1 + (c % 4) // 3, yes)
    findings = find(read_study(study_of(tmp_path, people)))
    assert "another way" in findings.apart["against"]
    assert "below the others" in findings.apart["harsh"]
    assert set(findings.apart) == {"against", "harsh"}


def test_files_that_cannot_be_used_are_lines_and_the_rest_is_read(tmp_path):
    good, twin, other, half = study_of(tmp_path, {n: (lambda m, c: 4, yes) for n in ("good", "twin", "other", "half")})
    sent = json.loads(good.read_text())
    short = sent | {"answers": sent["answers"][:2]}
    twin.write_text(json.dumps(short))  # the same person, fewer answers
    other.write_text(json.dumps(sent | {"study": "xyz"}))
    wrong = json.loads(half.read_text())
    wrong["answers"][0]["scores"] = [9] * 5
    wrong["answers"][1]["video"] = "nobody's"
    wrong["answers"][2]["sync"] = "yes"
    half.write_text("Here they are:\n" + json.dumps(wrong) + "\nBest wishes")  # a saved mail
    broken = tmp_path / "broken.json"
    broken.write_text("{]")
    found = read_study([good, twin, other, half, broken, tmp_path / "gone.json"])
    assert [rater.name for rater in found.raters] == ["good", "half"]
    assert len(found.raters[0].scores) == 12
    assert len(found.raters[1].scores) == 9
    for part in ("the fuller one counts", "answers another study (xyz", "3 of 12 answers make no sense",
                 "broken.json holds no answers", "gone.json cannot be read"):  # fmt: skip
        assert any(part in note for note in found.notes), part


@pytest.mark.parametrize(
    "change", [{"videos": {"a": {"clip": "c"}}}, {"videos": []}, {"names": []}, {"videos": {"a": 3}}, {"format": 9}]
)
def test_a_key_that_is_damaged_is_told(tmp_path, change):
    (path,) = study_of(tmp_path, {"a": (lambda m, c: 4, yes)})
    key = tmp_path / "study.key.json"
    key.write_text(json.dumps(json.loads(key.read_text()) | change))
    with pytest.raises(InputError, match="is no key of a study"):
        read_study([path], key)
    with pytest.raises(InputError, match=r"give --key PAGE\.key\.json"):
        read_study([path])


def test_scores_beyond_all_numbers_are_left_out(tmp_path):
    (path,) = study_of(tmp_path, {"a": (lambda m, c: 4, yes)})
    sent = json.loads(path.read_text())
    for at, score in enumerate((float("inf"), float("nan"), None, [])):
        sent["answers"][at]["scores"] = [score] * 5
    path.write_text(json.dumps(sent))
    found = read_study([path])
    assert len(found.raters[0].scores) == 8
    assert "4 of 12 answers make no sense" in found.notes[0]


def test_without_key_or_answers_it_is_told(tmp_path):
    (path,) = study_of(tmp_path, {"a": (lambda m, c: 4, yes)})
    (tmp_path / "study.key.json").rename(tmp_path / "hidden")
    with pytest.raises(InputError, match=r"give --key PAGE\.key\.json"):
        read_study([path])
    with pytest.raises(InputError, match=r"no answers that can be used\. .*gone\.json cannot be read"):
        read_study([tmp_path / "gone.json"])
    with pytest.raises(InputError, match="no answers that can be used"):
        read_study([tmp_path / "gone.json"], tmp_path / "hidden")
    assert read_study([path], tmp_path / "hidden").raters


def test_one_method_has_scores_but_no_wins(tmp_path):
    found = read_study(study_of(tmp_path, {"a": (lambda m, c: 4, yes)}, methods=("ours",)))
    findings = find(found)
    assert not findings.wins
    assert "one method only" in markdown(found, findings)
    assert markdown(found, findings).startswith("1 person, ")
