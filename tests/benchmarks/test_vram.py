"""The card's peak, and which templates can be measured at all."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = (".safetensors", ".pt")
PUBLIC = sorted((ROOT / "workflows" / "api" / "public").glob("*.json"))


def offered(prompt, kind, files):
    """The files that a server offers to the inputs of a node that name weights."""
    inputs = (node["inputs"] for node in prompt.values() if node["class_type"] == kind)
    return {name: files for given in inputs for name, value in given.items() if Path(str(value)).suffix in WEIGHTS}


@pytest.fixture(scope="module")
def vram():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("vram", ROOT / "benchmarks" / "vram.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "benchmarks"))


def test_the_peak_is_the_fullest_moment(vram):
    levels = iter([3, 5, 9, 4])
    with vram.Peak(lambda: next(levels, 4), every=0.01) as peak:
        time.sleep(0.2)
    assert (peak.before, peak.bytes) == (3, 9)


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_every_public_template_names_its_files_and_takes_the_clip(vram, path):
    prompt = vram.queue.read_workflow(path)
    files = {
        value for node in prompt.values() for value in node["inputs"].values() if Path(str(value)).suffix in WEIGHTS
    }
    assert set(vram.lacking(prompt, lambda kind: offered(prompt, kind, []))) == files != set()
    assert vram.lacking(prompt, lambda kind: offered(prompt, kind, sorted(files))) == []
    assert any(text.endswith("source.mp4") for text in vram.settings(prompt, None))
    assert all(vram.queue.read_setting(prompt, text) for text in vram.settings(prompt, None))
    assert vram.sizes(prompt)
