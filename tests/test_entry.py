"""What the host calls first."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pack():
    """The package alone, as a module of another name."""
    spec = importlib.util.spec_from_file_location("omnisync_pack", ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", ["0.3.64", "0.32.9", "0.9"])
def test_an_older_host_is_refused_in_one_line_before_any_node_is_built(pack, monkeypatch, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", SimpleNamespace(__version__=version))
    with pytest.raises(RuntimeError, match=rf"needs ComfyUI 0\.33 or newer, this is {version}") as caught:
        asyncio.run(pack.comfy_entrypoint())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["0.33.0", "0.33.1-rc1", "0.100.0", "1.0", "nightly"])
def test_newer_and_unknown_versions_pass(pack, monkeypatch, version):
    monkeypatch.setitem(sys.modules, "comfyui_version", SimpleNamespace(__version__=version))
    pack._refuse_older_host()


def test_the_host_takes_it_as_a_pack_of_the_new_kind(pack):
    """A module with NODE_CLASS_MAPPINGS would never have its entry point called."""
    assert pack.WEB_DIRECTORY == "./web"
    assert (ROOT / "web").is_dir()
    assert not hasattr(pack, "NODE_CLASS_MAPPINGS")
    assert not hasattr(pack, "NODE_DISPLAY_NAME_MAPPINGS")
