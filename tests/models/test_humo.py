"""HuMo's published weights in our transformer: every key fits, and the converted network computes what HuMo does."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from omnisync_core.checkpoint import load_strictly
from omnisync_core.errors import CheckpointError
from omnisync_core.models.dit import DiT, DiTConfig
from omnisync_core.models.humo import HUMO, convert, original, original_pairs, rename

TINY = replace(
    HUMO, width=24, depth=2, heads=2, ffn_width=32, speech_dim=3, text_dim=8, speech_width=16, speech_hidden=12,
    speech_context=3,
)  # fmt: skip
WINDOW = 8 * 5
"""Whisper features that HuMo hears per latent frame: 8 moments, 5 layers."""


def published(config: DiTConfig = HUMO) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Keys and shapes of a HuMo of our sizes; HuMo 1.7B at the default."""
    width, ffn, speech = config.width, config.ffn_width, config.speech_width

    def linear(name, inner, outer):
        yield f"{name}.weight", (outer, inner)
        yield f"{name}.bias", (outer,)

    def attention(name, context):
        for part, inner in (("q", width), ("k", context), ("v", context), ("o", width)):
            yield from linear(f"{name}.{part}", inner, width)
        for part in ("norm_q", "norm_k"):
            yield f"{name}.{part}.weight", (width,)

    def norm(name, size):
        yield f"{name}.weight", (size,)
        yield f"{name}.bias", (size,)

    yield "patch_embedding.weight", (width, config.latent_channels, 1, 2, 2)
    yield "patch_embedding.bias", (width,)
    yield from linear("text_embedding.0", config.text_dim, width)
    yield from linear("text_embedding.2", width, width)
    yield from linear("time_embedding.0", config.frequency_dim, width)
    yield from linear("time_embedding.2", width, width)
    yield from linear("time_projection.1", width, 6 * width)
    yield "head.modulation", (1, 2, width)
    yield from linear("head.head", width, 4 * config.latent_channels)
    yield from linear("audio_proj.audio_proj_glob_1.layer", WINDOW * config.speech_dim, config.speech_hidden)
    yield from linear("audio_proj.audio_proj_glob_2.layer", config.speech_hidden, config.speech_hidden)
    yield from linear("audio_proj.audio_proj_glob_3.layer", config.speech_hidden, config.speech_context * speech)
    yield from norm("audio_proj.audio_proj_glob_norm.layer", speech)
    for index in range(config.depth):
        block = f"blocks.{index}"
        yield f"{block}.modulation", (1, 6, width)
        yield from attention(f"{block}.self_attn", width)
        yield from norm(f"{block}.norm3", width)
        yield from attention(f"{block}.cross_attn", width)
        yield from attention(f"{block}.audio_cross_attn_wrapper.audio_cross_attn", speech)
        yield from norm(f"{block}.audio_cross_attn_wrapper.norm1_audio", width)
        yield from linear(f"{block}.ffn.0", width, ffn)
        yield from linear(f"{block}.ffn.2", ffn, width)


def test_every_published_key_has_its_place():
    weights = {key: torch.empty(shape, device="meta") for key, shape in published()}
    assert len(weights) == 23 + 30 * 39
    assert 1.6e9 < sum(weight.numel() for weight in weights.values()) < 1.8e9
    dit = DiT(HUMO, device="meta")
    converted = convert(weights)
    load_strictly(dit, converted, "HuMo 1.7B")
    result = dit.load_state_dict(converted, strict=True, assign=True)
    assert not result.missing_keys
    assert not result.unexpected_keys
    assert dit.patch_embedding.weight.shape == (1536, 32, 1, 2, 2)


@pytest.mark.parametrize("key", ["img_emb.proj.0.bias", "audio_proj.proj1.weight", "blocks.3.norm9.bias"])
def test_a_key_of_another_model(key):
    with pytest.raises(CheckpointError, match="no key of HuMo"):
        rename(key)


def test_a_key_too_many_is_refused_when_it_is_loaded():
    weights = {key: torch.empty(shape, device="meta") for key, shape in published(TINY)}
    weights["blocks.0.cross_attn.k_img.weight"] = torch.empty(24, 24, device="meta")
    with pytest.raises(CheckpointError, match="1 unexpected"):
        load_strictly(DiT(TINY, device="meta"), convert(weights, TINY), "Wan")


def test_17b_is_refused_by_its_shapes():
    larger = replace(HUMO, width=5120, heads=40)
    weights = {key: torch.empty(shape, device="meta") for key, shape in published(larger)}
    with pytest.raises(CheckpointError, match="expected"):
        load_strictly(DiT(HUMO, device="meta"), convert(weights, larger), "HuMo 17B")


def humo(weights: dict, x, sigma, windows_BtWD, text, config: DiTConfig = TINY) -> torch.Tensor:
    """HuMo restated as functions of its own weights; neighbours in a head are the parts of a complex number."""

    def linear(name, value):
        return F.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def normed(value, name=None):
        scale = (weights[f"{name}.weight"], weights[f"{name}.bias"]) if name else (None, None)
        return F.layer_norm(value, value.shape[-1:], *scale, eps=1e-6)

    def rms(name, value):
        return value / (value.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[f"{name}.weight"]

    def split(value):
        return value.reshape(*value.shape[:2], config.heads, -1).transpose(1, 2)

    def attention(name, value, context, turn=None):
        q, k = rms(f"{name}.norm_q", linear(f"{name}.q", value)), rms(f"{name}.norm_k", linear(f"{name}.k", context))
        q, k, v = split(q), split(k), split(linear(f"{name}.v", context))
        if turn is not None:
            pairs = (torch.view_as_complex(value.unflatten(-1, (-1, 2))) * turn for value in (q, k))
            q, k = (torch.view_as_real(value).flatten(-2) for value in pairs)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        return linear(f"{name}.o", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    batch, _, time, height, across = x.shape
    grid = (time, height // 2, across // 2)
    patches = x.unfold(3, 2, 2).unfold(4, 2, 2).permute(0, 2, 3, 4, 1, 5, 6).flatten(1, 3).flatten(2)
    tokens = patches @ weights["patch_embedding.weight"].flatten(1).T + weights["patch_embedding.bias"]
    frequency = 10000 ** (-torch.arange(128) / 128)
    angle = 1000 * sigma[:, None] * frequency
    clock = linear("time_embedding.2", F.silu(linear("time_embedding.0", torch.cat([angle.cos(), angle.sin()], -1))))
    modulation = linear("time_projection.1", F.silu(clock)).reshape(batch, 6, -1)
    words = linear("text_embedding.2", F.gelu(linear("text_embedding.0", text), approximate="tanh"))
    heard = F.relu(linear("audio_proj.audio_proj_glob_1.layer", windows_BtWD.flatten(2)))
    heard = linear("audio_proj.audio_proj_glob_3.layer", F.relu(linear("audio_proj.audio_proj_glob_2.layer", heard)))
    heard = heard.reshape(batch * time, config.speech_context, -1)
    name = "audio_proj.audio_proj_glob_norm.layer"
    heard = F.layer_norm(heard, heard.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    head_dim = config.width // config.heads
    side = 2 * (head_dim // 6)
    places = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), -1).reshape(-1, 3)
    turns = [
        torch.exp(1j * places[:, axis, None] * 10000 ** (-torch.arange(0, size, 2) / size))
        for axis, size in enumerate((head_dim - 2 * side, side, side))
    ]
    turn = torch.cat(turns, -1)

    for index in range(config.depth):
        block = f"blocks.{index}"
        a, b, c, d, e, f = (weights[f"{block}.modulation"] + modulation).unbind(1)
        tokens = tokens + c[:, None] * attention(
            f"{block}.self_attn", *[a[:, None] + normed(tokens) * (1 + b[:, None])] * 2, turn
        )
        tokens = tokens + attention(f"{block}.cross_attn", normed(tokens, f"{block}.norm3"), words)
        wrapper = f"{block}.audio_cross_attn_wrapper"
        by_frame = normed(tokens, f"{wrapper}.norm1_audio").reshape(batch * time, -1, config.width)
        tokens = tokens + attention(f"{wrapper}.audio_cross_attn", by_frame, heard).reshape(tokens.shape)
        inner = F.gelu(linear(f"{block}.ffn.0", d[:, None] + normed(tokens) * (1 + e[:, None])), approximate="tanh")
        tokens = tokens + f[:, None] * linear(f"{block}.ffn.2", inner)

    shift, scale = (weights["head.modulation"] + clock[:, None]).unbind(1)
    out = linear("head.head", shift[:, None] + normed(tokens) * (1 + scale[:, None]))
    out = out.reshape(batch, *grid, 2, 2, -1)
    return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(x.shape)


def test_the_converted_network_computes_what_humo_does():
    generator = torch.Generator().manual_seed(5)
    weights = {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in published(TINY)}
    dit = DiT(TINY).requires_grad_(False)
    load_strictly(dit, convert(weights, TINY), "tiny")
    x, source = torch.randn(2, 2, 16, 3, 4, 6, generator=generator)
    speech = torch.randn(2, 9, TINY.speech_tokens, TINY.speech_dim, generator=generator)
    text = torch.randn(2, 7, TINY.text_dim, generator=generator)
    sigma = torch.tensor([0.9, 0.2])
    windows = torch.cat([speech[:, :1].repeat(1, 4, 1, 1), speech[:, 1:]], 1).reshape(2, 3, WINDOW, -1)
    expected = humo(weights, x, sigma, windows, text)
    assert expected.std() > 0.1
    # The source's channels start at zero: what they hold does not matter yet.
    for there in (source, torch.zeros_like(source)):
        torch.testing.assert_close(dit(x, sigma, there, speech, text), expected, atol=2e-3, rtol=2e-3)


def test_without_the_rotary_conversion_it_would_not():
    """That the comparison above sees the order of a head's channels."""
    generator = torch.Generator().manual_seed(6)
    weights = {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in published(TINY)}
    converted = convert(weights, TINY)
    for name in ("q", "k"):
        for kind in ("weight", "bias"):
            converted[f"blocks.0.self_attention.{name}.{kind}"] = weights[f"blocks.0.self_attn.{name}.{kind}"]
    right, wrong = DiT(TINY).requires_grad_(False), DiT(TINY).requires_grad_(False)
    load_strictly(right, convert(weights, TINY), "tiny")
    load_strictly(wrong, converted, "tiny")
    given = (torch.randn(1, 16, 3, 4, 6), torch.tensor([0.5]), torch.zeros(1, 16, 3, 4, 6),
             torch.randn(1, 9, TINY.speech_tokens, TINY.speech_dim), torch.randn(1, 7, 8))  # fmt: skip
    assert (right(*given) - wrong(*given)).abs().max() > 1e-2


def test_every_name_has_its_way_back():
    for key, _ in published(TINY):
        assert original(rename(key)) == key


def test_what_is_added_to_our_layers_is_added_to_humos():
    generator = torch.Generator().manual_seed(7)
    weights = {key: torch.randn(shape, generator=generator) for key, shape in published(TINY)}
    ours = {key: value.clone() for key, value in convert(weights, TINY).items()}
    layers = [key.removesuffix(".weight") for key in ours if "attention.q.w" in key or "attention.v.w" in key]
    pairs = {
        layer: (torch.randn(2, ours[f"{layer}.weight"].shape[1]), torch.randn(len(ours[f"{layer}.weight"]), 2))
        for layer in layers
    }
    for layer, (inner, outer) in original_pairs(pairs, TINY.heads).items():
        weights[f"{layer}.weight"] += outer @ inner
    after = convert(weights, TINY)
    for layer, (inner, outer) in pairs.items():
        torch.testing.assert_close(after[f"{layer}.weight"], ours[f"{layer}.weight"] + outer @ inner)


def test_pairs_become_halves():
    """Channels 0 1 2 3 4 5 of each head to 0 2 4 1 3 5; other keys are not touched."""
    small = replace(TINY, width=12, heads=2)
    rows = torch.arange(12.0)
    found = convert({"blocks.0.self_attn.q.bias": rows, "blocks.0.self_attn.v.bias": rows}, small)
    assert found["blocks.0.self_attention.q.bias"].tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    assert torch.equal(found["blocks.0.self_attention.v.bias"], rows)
