"""What the Comfy registry asks of pyproject.toml, and what a pack must not do to its host's packages."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ACCELERATORS = {"NVIDIA CUDA", "AMD ROCm", "Intel Arc", "Apple Metal"}


@pytest.fixture(scope="module")
def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_registry_takes_it(settings):
    project, comfy = settings["project"], settings["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9-]*", project["name"])
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert (ROOT / project["license"]["file"]).is_file()
    assert project["description"]
    assert project["urls"]["Repository"].startswith("https://")
    assert comfy["PublisherId"]
    assert comfy["DisplayName"]
    assert comfy["requires-comfyui"] == ">=0.33.0"
    assert "web" not in comfy  # WEB_DIRECTORY says it, and registers under the folder's name


def test_classifiers_that_it_knows(settings):
    for classifier in settings["project"]["classifiers"]:
        room, _, rest = classifier.partition(" :: ")
        known = {"Operating System": {"OS Independent"}, "Environment": {f"GPU :: {name}" for name in ACCELERATORS}}
        assert rest in known[room]


def test_nothing_of_the_host_is_pinned(settings):
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    for requirement in [*settings["project"]["dependencies"], *lines]:
        assert not re.search(r"==|<|~=|@", requirement), requirement
