"""A start from public weights: what is taken is said, what is fresh changes nothing, what does not fit is refused."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from omnisync_core.errors import CheckpointError, InputError
from omnisync_core.models.dit import BASE, MINI, DiT
from omnisync_core.models.humo import HUMO, convert
from omnisync_core.training.sized.start import begin, count, describe, fresh, published, take
from tests.models.test_humo import TINY, humo
from tests.training.sized import small


def given(config=TINY, seed=3):
    generator = torch.Generator().manual_seed(seed)
    x, source = torch.randn(2, 1, 16, 3, 4, 6, generator=generator)
    speech = torch.randn(1, 9, config.speech_tokens, config.speech_dim, generator=generator)
    return x, torch.tensor([0.7]), source, speech, torch.randn(1, 7, config.text_dim, generator=generator)


def test_sizes_by_name():
    assert describe("base", {}, (4, 1024), 1024) == BASE
    assert describe("humo", {}, (10, 1280), 4096) == HUMO
    assert describe("mini", {}, (4, 128), 64) == MINI
    changed = describe("humo", {"width": 192, "depth": 4, "heads": 6}, (4, 1024), 512)
    assert (changed.width, changed.depth, changed.speech_tokens, changed.text_dim) == (192, 4, 4, 512)
    for size, changes, reason in (("huge", {}, "must be one of mini, base, humo"), ("base", {"wide": 1}, "wide"),
                                ("base", {"heads": 7}, "7 heads no even width"),
                                  ("base", {"width": "wide"}, "width must be a whole number from 2 to")):  # fmt: skip
        with pytest.raises(InputError, match=reason):
            describe(size, changes, (4, 1024), 1024)


def test_humo_is_taken_whole(tmp_path):
    tensors = small.weights()
    save_file({f"diffusion_model.{key}": value for key, value in tensors.items()}, tmp_path / "humo.safetensors")
    dit, taken = begin(TINY, str(tmp_path / "humo.safetensors"), 0)
    assert taken.startswith(f"{len(dit.state_dict())} of {len(dit.state_dict())} tensors")
    assert "fresh: the 16 source channels" in taken
    assert "\n" not in taken
    for key, value in convert(tensors, TINY).items():
        assert torch.equal(dit.state_dict()[key], value), key


def test_wan_is_what_it_was_until_it_learns():
    """Speech is fresh: neither it nor the source moves the velocity yet, which is Wan's."""
    tensors, dit = small.wan(), fresh(TINY)
    taken = take(dit, tensors, "wan.safetensors")
    assert "Wan 2.1 1.3B" in taken
    assert "blocks.*.speech_attention" in taken
    assert "speech_projection" in taken
    x, sigma, source, speech, text = given()
    with torch.no_grad():
        out = dit(x, sigma, source, speech, text)
        torch.testing.assert_close(out, dit(x, sigma, 0 * source, -speech, text))
        silent = small.weights()
        for key in silent:
            if "audio_cross_attn.o" in key:
                silent[key].zero_()
        heard = torch.cat([speech[:, :1].repeat(1, 4, 1, 1), speech[:, 1:]], 1).reshape(1, 3, 40, -1)
        torch.testing.assert_close(out, humo(silent, x, sigma, heard, text), atol=2e-3, rtol=2e-3)
    dit(x, sigma, source, speech, text).sum().backward()
    assert dit.blocks[0].speech_attention.o.weight.grad.abs().sum() > 0, "it can learn to listen"


def test_another_whisper_and_another_t5_start_fresh():
    config = replace(TINY, speech_dim=5, speech_tokens=4, text_dim=6)
    taken = take(dit := fresh(config), small.weights(), "humo.pt")
    assert "fresh: speech_projection.inner, text_embedding.0, the 16 source channels" in taken
    assert torch.equal(
        dit.speech_projection.middle.weight, small.weights()["audio_proj.audio_proj_glob_2.layer.weight"]
    )


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'set omnisync\.size = "humo"'):
        take(fresh(replace(TINY, norm="rms")), small.weights(), "humo.pt")
    with pytest.raises(CheckpointError, match="expected"):
        take(fresh(replace(TINY, ffn_width=64)), small.weights(), "humo.pt")
    with pytest.raises(CheckpointError, match="tensors are missing"):
        take(fresh(replace(TINY, depth=3)), small.weights(), "humo.pt")
    with pytest.raises(CheckpointError, match="unexpected"):
        take(fresh(replace(TINY, depth=1)), small.weights(), "humo.pt")
    with pytest.raises(CheckpointError, match="no key of HuMo"):
        take(fresh(TINY), {**small.wan(), "img_emb.proj.0.bias": torch.zeros(3)}, "i2v.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no transformer of HuMo"):
        published(str(tmp_path / "other.pt"))


def test_a_bundle_is_taken_whole(tmp_path):
    from tests import tiny

    parts = small.write_parts(tmp_path)
    dit, taken = begin(tiny.DIT, str(parts), 0)
    assert taken.startswith("all 0 M parameters from the bundle")
    assert torch.equal(dit.head.out.weight, tiny.networks()["dit"].head.out.weight)
    with pytest.raises(CheckpointError):
        begin(replace(tiny.DIT, depth=1), str(parts), 0)


def test_base_is_the_papers_size():
    with torch.device("meta"):
        assert 1600 < count(DiT(BASE)) < 1900
