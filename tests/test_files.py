"""A file appears whole or not at all."""

import os

import pytest

from omnisync_core.errors import OutputError
from omnisync_core.files import make_folder, replacing


@pytest.mark.parametrize("given", [{}, {"durable": True}, {"shared": True}, {"durable": True, "shared": True}])
def test_it_takes_its_place_when_it_is_whole(tmp_path, given):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with replacing(path, **given) as part:
        part.write_text("after")
        assert path.read_text() == "before"
        assert part.parent == tmp_path  # a move within a folder is one step
    assert path.read_text() == "after"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_goes_by_suffix_finds_it(tmp_path):
    with replacing(tmp_path / "a.mp4", by_suffix=True) as part:
        part.write_text("x")
        assert part.suffix == ".mp4"
        assert part.name != "a.mp4"
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("durable", [False, True])
def test_after_an_error_nothing_is_changed(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(path, durable=durable) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_processes_that_share_a_file_do_not_share_what_is_written_first(tmp_path):
    with replacing(tmp_path / "a", shared=True) as part:
        part.write_text("mine")
        assert str(os.getpid()) in part.name


def test_what_is_durable_was_synced_before_it_was_moved(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append((tmp_path / "a").exists()))
    with replacing(tmp_path / "a", durable=True) as part:
        part.write_text("x")
    assert seen[0] is False
    assert seen[1:] == ([True] if os.name == "posix" else [])


def test_a_folder_is_made_with_those_above_it(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_had_is_named(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot make the folder .*a: File exists"):
        make_folder(tmp_path / "a")
