"""Lists of clips: what a row may say, and that a bad row costs that row alone."""

import math

import pytest

from omnisync_core import tables
from omnisync_core.errors import InputError, OutputError
from omnisync_core.manifest import Row, read_manifest, write_manifest
from omnisync_core.tables import read_table, write_table

HEAD = "id,video,audio,truth,mouth_x,mouth_y,style\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a.mp4", "b.mp4", "a.wav", "t.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def listed(folder, text):
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return read_manifest(path)


def test_all_columns_of_a_row(folder):
    (row,) = listed(folder, HEAD.rstrip() + ",note\none,a.mp4,a.wav,t.mp4,12,34.5,stylised,loud\n")
    assert (row.number, row.id, row.problem) == (1, "one", "")
    assert (row.video, row.audio, row.truth) == (folder / "a.mp4", folder / "a.wav", folder / "t.mp4")
    assert row.mouth == (12.0, 34.5)
    assert row.style == "stylised"
    assert row.other == {"note": "loud"}


def test_what_may_be_left_out_may_be_left_out(folder):
    (row,) = listed(folder, "id,video,audio\none,a.mp4,a.wav\n")
    assert (row.truth, row.mouth, row.style, row.other, row.problem) == (None, None, None, {}, "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("two,gone.mp4,a.wav,,,,", "row 2: there is no video file gone.mp4"),
        ("two,b.mp4,gone.wav,,,,", "there is no audio file gone.wav"),
        ('two,"go\nne.mp4",a.wav,,,,', r"there is no video file 'go\nne.mp4'"),
        ("two,b.mp4,a.wav,gone.mp4,,,", "there is no truth file gone.mp4"),
        ("two,b.mp4,,,,,", "it names no audio"),
        ("one,b.mp4,a.wav,,,,", "row 1 has the same id 'one'"),
        ("ONE,b.mp4,a.wav,,,,", "row 1 has the same id 'ONE'"),
        (",b.mp4,a.wav,,,,", "it has no id"),
        ("../x,b.mp4,a.wav,,,,", "cannot name a file"),
        (".x,b.mp4,a.wav,,,,", "cannot name a file"),
        ("two,b.mp4,a.wav,,3,,", "mouth_x and mouth_y must be two numbers"),
        ("two,b.mp4,a.wav,,nan,2,", "mouth_x and mouth_y must be two numbers"),
        ("two,b.mp4,a.wav,,,,cubist", "style must be one of realistic, stylised, atypical, got 'cubist'"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_the_rest_is_whole(folder, line, message):
    rows = listed(folder, f"{HEAD}one,a.mp4,a.wav,,,,\n{line}\nthree,a.mp4,a.wav,,,,\n")
    assert message in rows[1].problem
    assert "\n" not in rows[1].problem
    assert [row.problem for row in rows[::2]] == ["", ""]
    assert len({row.id.casefold() for row in rows}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no clips"),
        (HEAD, "lists no clips"),
        ("id,video\none,a.mp4\n", "has no column audio"),
        ("id,video,audio\none,a.mp4,a.wav,more\n", "row 1 has 4 cells"),
        ('id,video,audio\none,"a.mp4,a.wav\n', "cannot be read as a table"),
        ("id,video,audio,video\none,a.mp4,a.wav,b.mp4\n", "two columns are called 'video'"),
    ],
)
def test_what_is_no_list_of_clips_is_refused_in_one_line(folder, text, message):
    with pytest.raises(InputError, match=message) as caught:
        listed(folder, text)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_or_of_another_kind(folder):
    with pytest.raises(InputError, match="no such table"):
        read_manifest(folder / "gone.csv")
    with pytest.raises(InputError, match=r"must end in .parquet or .csv"):
        read_manifest(folder / "a.wav")
    (folder / "latin.csv").write_bytes(b"id,video,audio\n\xff,a,b\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_manifest(folder / "latin.csv")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_was_written_is_read_again(folder, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow reads and writes Parquet")
    rows = [
        Row(1, "one", folder / "a.mp4", folder / "a.wav", folder / "t.mp4", (1.5, 2.0), "atypical", {"group": "g"}),
        Row(2, "zwei, drei", folder / "b.mp4", folder / "a.wav", other={"group": None}),
    ]
    path = folder / "sub" / ".." / f"list.{kind}"
    (folder / "sub").mkdir()
    write_manifest(folder / f"list.{kind}", rows)
    assert read_manifest(path) == [
        Row(row.number, row.id, path.parent / row.video.name, path.parent / "a.wav",
            row.truth and path.parent / "t.mp4", row.mouth, row.style, row.other)
        for row in rows
    ]  # fmt: skip
    assert read_table(path)[0]["video"] == "a.mp4"
    assert not list(folder.glob("*.part"))


def test_a_parquet_file_that_is_none(folder):
    pytest.importorskip("pyarrow", reason="pyarrow reads and writes Parquet")
    (folder / "list.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_manifest(folder / "list.parquet")


def test_a_table_that_cannot_be_written_is_told(folder):
    with pytest.raises(OutputError, match="cannot write"):
        write_table(folder / "a.mp4" / "x.csv", [{"a": math.pi}])


def test_a_library_s_many_lines_are_one(folder, monkeypatch):
    def torn(path):
        raise OSError("Couldn't read\nit all\n")

    monkeypatch.setattr(tables, "_read_parquet", torn)
    with pytest.raises(InputError, match=r"cannot be read as a table \(Couldn't read\); save it again"):
        read_manifest(folder / "list.parquet")
