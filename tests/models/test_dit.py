"""The transformer: its velocity in closed form, who hears what, positions, switches, what a host may inject."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from omnisync_core.models.dit import BASE, MINI, DiT, DiTConfig, precondition
from omnisync_core.models.layers import attend, attend_plainly, rope_axes, rope_table, rotate, timestep_embedding
from tests.tiny import DIT, counted, stirred

FRAMES = 9


def inputs(config: DiTConfig = DIT, batch=2, seed=0, size=(4, 6)):
    """x, sigma, source, speech of 9 frames (3 latent frames), text."""
    torch.manual_seed(seed)
    latent = (batch, config.latent_channels, 3, *size)
    return (
        torch.randn(latent),
        torch.linspace(0.3, 0.9, batch),
        torch.randn(latent) if config.source_channels else None,
        torch.randn(batch, FRAMES, config.speech_tokens, config.speech_dim),
        torch.randn(batch, 5, config.text_dim),
    )


def network(config: DiTConfig = DIT, **settings) -> DiT:
    torch.manual_seed(3)
    return stirred(DiT(config, **settings)).requires_grad_(False)


def silent(config: DiTConfig = DIT) -> DiT:
    """A network whose raw output is 0."""
    dit = network(config)
    dit.head.out.weight.zero_()
    dit.head.out.bias.zero_()
    return dit


def test_the_velocity_of_a_network_that_says_nothing():
    x, sigma, source, speech, text = inputs()
    found = silent()(x, sigma, source, speech, text)
    for row, s in enumerate(sigma.tolist()):
        # The best guess of x0 given x, if x0 = source + N(0, .5^2): Bayes' rule for two normal distributions.
        precision = 1 / 0.5**2 + (1 - s) ** 2 / s**2
        mean = (source[row] / 0.5**2 + x[row] * (1 - s) / s**2) / precision
        torch.testing.assert_close(found[row], (x[row] - mean) / s, atol=1e-4, rtol=1e-4)


def test_the_output_is_scaled_by_the_guess_own_error():
    x, sigma, *_ = inputs()
    keep, gain = precondition(sigma, 0.5, x)
    for row, s in enumerate(sigma.tolist()):
        precision = 1 / 0.5**2 + (1 - s) ** 2 / s**2
        assert gain[row].item() == pytest.approx(precision**-0.5, rel=1e-5)
        assert keep[row].item() == pytest.approx((1 - s) / s**2 / precision, rel=1e-5)
    assert gain.dtype == x.dtype


def test_the_network_moves_the_guess_by_its_output():
    dit = network()
    x, sigma, source, speech, text = inputs()
    moved = dit(x, sigma, source, speech, text) - silent()(x, sigma, source, speech, text)
    keep, gain = precondition(sigma, 0.5, x)
    level = sigma.reshape(-1, 1, 1, 1, 1)
    guess = keep * (x - (1 - level) * source) / 0.5
    expected = -gain * dit.network(guess, sigma, source, speech, text) / level
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)


def test_where_nothing_differs_the_answer_is_the_guess_with_its_sign_turned():
    """At coarse noise at any level alike, so that leaving pixels alone is a fixed linear map."""
    torch.manual_seed(0)
    source, eps = torch.randn(2, 1, 16, 3, 8, 8)
    for s in (0.6, 0.8, 0.95):
        x, sigma = (1 - s) * source + s * eps, torch.tensor([s])
        keep, gain = precondition(sigma, 0.5, x)
        guess = keep * (x - (1 - s) * source)
        wanted = -guess / gain
        torch.testing.assert_close(wanted, -guess / 0.5, atol=0.01, rtol=0.06)


def test_overshoot_leads_further_from_the_source_at_coarse_noise_alone():
    x, _, source, speech, text = inputs()
    sigma = torch.tensor([0.7, 0.9])
    exact, further = (
        x - sigma.reshape(-1, 1, 1, 1, 1) * network(config)(x, sigma, source, speech, text)
        for config in (DIT, replace(DIT, overshoot=0.5))
    )
    torch.testing.assert_close(further[0], exact[0])
    torch.testing.assert_close(further[1] - source[1], 1.5 * (exact[1] - source[1]), atol=1e-4, rtol=1e-4)


def test_without_preconditioning_the_output_is_the_velocity():
    plain = replace(DIT, residual_std=None)
    dit, given = network(plain), inputs()
    assert torch.equal(dit(*given), dit.network(*given))
    alone = replace(plain, source_channels=0)
    assert network(alone)(*inputs(alone)).shape == given[0].shape


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 4)])
def test_shapes(size):
    given = inputs(size=size)
    out = network()(*given)
    assert out.shape == given[0].shape
    assert torch.isfinite(out).all()


def test_one_frame_is_a_video_too():
    x, sigma, source, speech, text = inputs()
    assert network()(x[:, :, :1], sigma, source[:, :, :1], speech[:, :1], text).shape == x[:, :, :1].shape


def test_a_batch_is_its_rows():
    dit, given = network(), inputs()
    both = dit(*given)
    for row in range(2):
        torch.testing.assert_close(dit(*(value[row : row + 1] for value in given))[0], both[row], atol=1e-5, rtol=1e-5)


def test_tokens_become_the_patches_they_were():
    """With a patch embedding and a head that keep one channel each, the output's patches lie where the input's did."""
    config = replace(DIT, depth=0, residual_std=None, latent_channels=1, source_channels=0, width=4, heads=1)
    dit = network(config)
    dit.patch_embedding.weight.copy_(torch.eye(4).reshape(4, 1, 1, 2, 2))
    dit.patch_embedding.bias.zero_()
    dit.head.norm = nn.Identity()
    dit.head.modulation.zero_()
    for layer in (dit.time_embedding[2].weight, dit.time_embedding[2].bias, dit.head.out.bias):
        layer.zero_()
    dit.head.out.weight.copy_(torch.eye(4))
    given = inputs(config)
    torch.testing.assert_close(dit(*given), given[0])


def reached(change, config: DiTConfig = DIT) -> list[bool]:
    """Which latent frames a change of the speech reaches when no token sees another one."""

    def only_itself(q, k, v, heads):
        return v if q.shape == k.shape else attend(q, k, v, heads)

    dit = network(config, attention=only_itself)
    x, sigma, source, speech, text = inputs(config)
    before = dit(x, sigma, source, speech, text)
    after = dit(x, sigma, source, change(speech), text)
    return (before - after).abs().amax((0, 1, 3, 4)).gt(1e-6).tolist()


@pytest.mark.parametrize("text_first", [False, True])
@pytest.mark.parametrize("frame", range(FRAMES))
def test_a_latent_frame_hears_its_own_video_frames_only(frame, text_first):
    def louder(speech):
        changed = speech.clone()
        changed[:, frame] += 1
        return changed

    heard = reached(louder, replace(DIT, text_first=text_first))
    assert heard == [frame == 0, 1 <= frame <= 4, 5 <= frame <= 8]


def test_through_self_attention_everything_is_heard():
    x, sigma, source, speech, text = inputs()
    dit, other = network(), speech.clone()
    other[:, 8] += 1
    difference = (dit(x, sigma, source, speech, text) - dit(x, sigma, source, other, text)).abs().amax((0, 1))
    assert (difference > 0).all()


@pytest.mark.parametrize("which", range(5))
def test_every_input_matters(which):
    given, dit = list(inputs()), network()
    before = dit(*given)
    given[which] = given[which] * 0.5
    assert (dit(*given) - before).abs().max() > 1e-3


def test_text_first_is_another_order():
    given = inputs()
    assert not torch.allclose(network()(*given), network(replace(DIT, text_first=True))(*given), atol=1e-4)


def test_norms():
    rms, layer = network(), network(replace(DIT, norm="layer"))
    for dit, kind, affine in ((rms, nn.RMSNorm, True), (layer, nn.LayerNorm, False)):
        block = dit.blocks[0]
        everywhere = (block.norm_self, block.norm_speech, block.norm_text, block.norm_ffn, dit.head.norm)
        assert all(isinstance(norm, kind) for norm in everywhere)
        for norm in (block.norm_self, block.norm_ffn, dit.head.norm):
            assert (norm.weight is not None) == affine
        assert block.norm_speech.weight is not None
        assert block.norm_text.weight is not None


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_a_host_gives_every_layer_with_weights(norm):
    operations, made = counted("Linear", "Conv3d", "RMSNorm", "LayerNorm")
    dit = DiT(replace(DIT, norm=norm), operations=operations)
    layers = [module for module in dit.modules() if any(True for _ in module.parameters(recurse=False))]
    raw = [module for module in layers if module not in made]
    # Only the modulations are bare parameters; they are cast where they are used.
    assert all([name for name, _ in module.named_parameters(recurse=False)] == ["modulation"] for module in raw)
    assert len(raw) == DIT.depth + 1


def test_a_host_gives_every_attention():
    calls = []

    def attention(q, k, v, heads):
        calls.append((q.shape[1], k.shape[1]))
        return attend(q, k, v, heads)

    given = inputs()
    found = network(attention=attention)(*given)
    per_latent_frame, tokens = 6, 18
    block = [(tokens, tokens), (per_latent_frame, DIT.speech_context), (tokens, 5)]
    assert calls == block * DIT.depth
    torch.testing.assert_close(found, network()(*given))


def test_device_and_type_are_the_hosts():
    dit = DiT(DIT, device="meta", dtype=torch.float16)
    assert {(str(p.device), p.dtype) for p in dit.parameters()} == {("meta", torch.float16)}


def test_half_precision_stays_near():
    given = inputs()
    half = [value.bfloat16() for value in given]
    found = network().bfloat16()(half[0], given[1], *half[2:])
    assert found.dtype == torch.bfloat16
    assert (found.float() - network()(*given)).abs().mean() < 0.1


def test_the_two_attentions_agree():
    q, k, v = torch.randn(3, 2, 7, 24).unbind()
    torch.testing.assert_close(attend(q, k, v, 3), attend_plainly(q, k, v, 3), atol=1e-5, rtol=1e-5)
    scores = (q[0, :, :8] @ k[0, :, :8].T / 8**0.5).softmax(-1) @ v[0, :, :8]
    torch.testing.assert_close(attend(q, k, v, 3)[0, :, :8], scores, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 2, 0), (0, 0, 3), (1, 1, 1)])
def test_rotary_products_depend_on_the_distance_alone(shift):
    heads, head_dim = 2, 16
    grid = (3, 4, 5)
    table = rope_table(grid, head_dim, "cpu")
    q, k = torch.randn(2, 1, 1, heads * head_dim)
    queries = rotate(q.expand(1, 60, -1), table, heads).reshape(*grid, heads, head_dim)
    keys = rotate(k.expand(1, 60, -1), table, heads).reshape(*grid, heads, head_dim)

    def product(at, to):
        return (queries[at] * keys[to]).sum(-1)

    other = tuple(shift)
    for start in ((0, 0, 0), (1, 0, 1), (1, 1, 1)):
        moved = tuple(a + b for a, b in zip(start, shift, strict=True))
        torch.testing.assert_close(product(start, moved), product((0, 0, 0), other), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(product((0, 0, 0), other), product((0, 0, 0), (0, 0, 0)), atol=1e-3)


@pytest.mark.parametrize("head_dim", [8, 12, 16, 64, 128])
def test_rotation_keeps_lengths_and_shares_channels(head_dim):
    axes = rope_axes(head_dim)
    assert sum(axes) == head_dim
    assert all(axis % 2 == 0 for axis in axes)
    x = torch.randn(1, 24, 2 * head_dim)
    turned = rotate(x, rope_table((2, 3, 4), head_dim, "cpu"), 2)
    torch.testing.assert_close(turned.unflatten(-1, (2, -1)).norm(dim=-1), x.unflatten(-1, (2, -1)).norm(dim=-1))
    assert torch.equal(turned[:, 0], x[:, 0])


def test_wans_division_of_a_head():
    assert rope_axes(128) == (44, 42, 42)


def test_timestep_by_hand():
    found = timestep_embedding(torch.tensor([0.0, 100.0]), 4)
    torch.testing.assert_close(found[0], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    expected = torch.tensor([100.0, 1.0, 100.0, 1.0])
    torch.testing.assert_close(found[1], torch.cat([expected[:2].cos(), expected[2:].sin()]), atol=1e-4, rtol=1e-4)


def test_published_sizes():
    with torch.device("meta"):
        mini, base = (sum(p.numel() for p in DiT(config).parameters()) for config in (MINI, BASE))
    assert 10e6 < mini < 20e6
    assert 1.2e9 < base < 2.1e9
