"""The network against its formulas written a second time, and what it refuses."""

import pytest
import torch

from omnisync_core.engines.xdub import load_dit
from omnisync_core.errors import CheckpointError, InputError
from tests.engines.xdub import plain, small


@pytest.fixture(scope="module")
def network():
    return small.dit()


def given(batch=2, frames=3, height=4, width=6, features=8, rows=7, seed=0) -> dict[str, torch.Tensor]:
    make, sizes = torch.Generator().manual_seed(seed), small.CONFIG
    shapes = {
        "latents": (batch, sizes.latent_channels, frames, height, width),
        "ref_latents": (batch, sizes.latent_channels, frames, height, width),
        "context": (batch, rows, sizes.text_dim),
        "audio_feats": (batch, frames, features, sizes.audio_dim),
    }
    return {name: torch.randn(shape, generator=make) for name, shape in shapes.items()}


def asked(network, inputs, level=640.0, motion_frames=0, **rest):
    others = {name: value for name, value in inputs.items() if name != "latents"}
    timestep = torch.full((len(inputs["latents"]),), level)
    return network(inputs["latents"], timestep, **others, motion_frames=motion_frames, **rest)


@pytest.mark.parametrize(
    ("size", "level", "motion"),
    [
        ({}, 640.0, 0),
        ({"frames": 4, "height": 6, "width": 2}, 147.1, 2),
        ({"batch": 1, "frames": 1, "features": 3, "rows": 1}, 1000.0, 0),
        ({"features": 10}, 0.0, 3),
    ],
)
def test_it_is_its_formulas(network, size, level, motion):
    inputs = given(**size)
    found = asked(network, inputs, level, motion)
    timestep = torch.full((len(found),), level)
    expected = plain.velocity(network.state_dict(), small.CONFIG, timestep=timestep, motion_frames=motion, **inputs)
    assert (found - expected).abs().max() < 2e-5 * expected.square().mean().sqrt()


def test_rows_of_a_batch_do_not_meet(network):
    inputs = given(batch=3)
    whole = asked(network, inputs)
    for row in range(3):
        alone = asked(network, {name: value[row : row + 1] for name, value in inputs.items()})
        assert torch.allclose(alone[0], whole[row], atol=1e-5)


def test_a_latent_frame_hears_its_own_features(network):
    """What frame 2 hears reaches other frames through self-attention alone: not in the only block."""
    inputs = given(frames=3)
    single = load_dit(
        {key: value for key, value in network.state_dict().items() if not key.startswith("blocks.1.")},
        heads=2, audio_heads=2,
    )  # fmt: skip
    before = asked(single, inputs)
    inputs["audio_feats"][:, 2] += 1
    change = (asked(single, inputs) - before).abs().amax((0, 1, 3, 4))
    assert (change[:2] == 0).all()
    assert change[2] > 0.01


def test_every_attention_is_the_injected_one(network):
    calls = []

    def counted(q, k, v, heads, **hints):
        calls.append(hints)
        return torch.zeros_like(q)

    injected = load_dit(network.state_dict(), heads=2, audio_heads=2, attention=counted)
    asked(injected, given(), hints={"mark": 1})
    assert calls == [{"mark": 1}] * (small.CONFIG.audio_depth + 3 * small.CONFIG.depth)


def test_it_computes_in_the_type_of_its_weights(network):
    halved = load_dit(network.state_dict(), heads=2, audio_heads=2, dtype=torch.bfloat16)
    inputs = given()
    found = asked(halved, {name: value.bfloat16() for name, value in inputs.items()})
    exact = asked(network, inputs)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latents": (2, 3, 3, 4, 6)}, "Wan 2.2"),
        ({"latents": (2, 4, 3, 5, 6)}, "even"),
        ({"ref_latents": (2, 4, 2, 4, 6)}, "as large"),
        ({"context": (2, 7, 11)}, "umT5"),
        ({"audio_feats": (2, 2, 8, 22)}, "takes sound"),
        ({"audio_feats": (2, 3, 8, 21)}, "takes sound"),
        ({"audio_feats": (2, 3, 11, 22)}, "at most 10"),
    ],
)
def test_what_does_not_fit(network, change, message):
    inputs = {**given(), **{name: torch.zeros(shape) for name, shape in change.items()}}
    with pytest.raises(InputError, match=message):
        asked(network, inputs)
    with pytest.raises(InputError, match="motion_frames"):
        asked(network, given(), motion_frames=4)


def test_keys_are_strict(network):
    state = network.state_dict()
    load_dit(state, heads=2, audio_heads=2)
    with pytest.raises(CheckpointError, match="unexpected"):
        load_dit({**state, "blocks.0.more.weight": torch.zeros(1)}, heads=2, audio_heads=2)
    with pytest.raises(CheckpointError, match="missing"):
        load_dit({key: value for key, value in state.items() if "blocks.1.norm4.bias" not in key}, heads=2)
    with pytest.raises(CheckpointError, match=r"blocks.0.ffn.2.bias has shape"):
        load_dit({**state, "blocks.0.ffn.2.bias": torch.zeros(3)}, heads=2, audio_heads=2)
    with pytest.raises(CheckpointError, match="not whole"):
        load_dit({key: value for key, value in state.items() if key != "text_embedding.0.weight"})
    with pytest.raises(CheckpointError, match="cannot be divided into 3 heads"):
        load_dit(state, heads=3)


def test_a_plain_wan_is_named(network):
    deaf = {key: value for key, value in network.state_dict().items() if "audio" not in key and "norm4" not in key}
    with pytest.raises(CheckpointError, match="hears nothing"):
        load_dit(deaf)
    with pytest.raises(CheckpointError, match="another model"):
        load_dit({"weight": torch.zeros(1)})
