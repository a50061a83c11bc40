"""Files: the published one, and the empty prompt's row."""

import pytest
import torch
from safetensors.torch import save_file

from omnisync_core.engines.xdub import load_dit
from omnisync_core.engines.xdub.weights import context_of, read_dit, read_prompt, write_prompt
from omnisync_core.errors import CheckpointError
from tests.engines.xdub import small


def test_the_file_gives_the_network(tmp_path):
    state = small.dit().state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "X-Dub_model.safetensors")
    found = load_dit(read_dit(tmp_path / "X-Dub_model.safetensors"), heads=2, audio_heads=2).state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    for name, message in (("a.safetensors", "damaged"), ("b.safetensors", "no such model file")):
        with pytest.raises(CheckpointError, match=message) as caught:
            read_dit(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_the_empty_prompt_is_kept_as_one_row(tmp_path):
    text = torch.zeros(512, 12)
    text[0] = torch.linspace(-1, 1, 12)
    row = write_prompt(tmp_path / "prompt.safetensors", text)
    assert torch.equal(read_prompt(tmp_path / "prompt.safetensors"), row)
    assert row.shape == (1, 12)
    assert torch.equal(context_of(row)[0], text)
    assert [path.name for path in tmp_path.iterdir()] == ["prompt.safetensors"]


def test_another_prompt_is_refused(tmp_path):
    path = tmp_path / "prompt.safetensors"
    text = torch.zeros(512, 12)
    for wrong in (text, torch.ones(512, 12), torch.full((1, 12), float("nan"))):
        with pytest.raises(CheckpointError, match="umt5_xxl"):
            write_prompt(path, wrong)
    assert not list(tmp_path.iterdir())
    save_file({"row": text}, path)
    with pytest.raises(CheckpointError, match="empty_prompt"):
        read_prompt(path)
