"""The autoencoder: in pieces it gives what it gives as a whole, and nothing ever looks ahead."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from omnisync_core.models.vae import CausalConv, RMSNorm, VAEConfig, VideoVAE
from tests.tiny import VAE, counted, stirred


@pytest.fixture(scope="module")
def vae() -> VideoVAE:
    torch.manual_seed(0)
    vae = stirred(VideoVAE(VAE)).requires_grad_(False)
    vae.latent_mean.normal_()
    vae.latent_std.uniform_(0.5, 2)
    return vae


def video(frames: int, size=(16, 24), batch=1) -> torch.Tensor:
    return torch.rand(batch, 3, frames, *size, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def latent(frames: int, size=(2, 3), batch=1) -> torch.Tensor:
    return torch.randn(batch, 16, frames, *size, generator=torch.Generator().manual_seed(frames))


def pieces(clip: torch.Tensor, cuts: list[int]) -> list[torch.Tensor]:
    edges = [0, *sorted(min(cut, clip.shape[2]) for cut in cuts), clip.shape[2]]
    return [clip[:, :, start:stop] for start, stop in itertools.pairwise(edges)]


@settings(deadline=None, max_examples=25)
@given(groups=st.integers(0, 5), cuts=st.lists(st.integers(0, 21), max_size=6))
def test_encoding_in_pieces_is_encoding_the_whole(vae, groups, cuts):
    clip = video(1 + 4 * groups)
    whole = vae.encode(clip)
    found = torch.cat(list(vae.encode_chunks(pieces(clip, cuts))), 2)
    assert found.shape == whole.shape == (1, 16, 1 + groups, 2, 3)
    assert (found - whole).abs().max() < 1e-5


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(1, 6), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_decoding_in_pieces_is_decoding_the_whole(vae, frames, cuts):
    clip = latent(frames)
    whole = vae.decode(clip)
    found = torch.cat(list(vae.decode_chunks(pieces(clip, cuts))), 2)
    assert found.shape == whole.shape == (1, 3, 1 + 4 * (frames - 1), 16, 24)
    assert (found - whole).abs().max() < 1e-5


def test_the_published_size_in_pieces():
    torch.manual_seed(1)
    vae = VideoVAE().requires_grad_(False)
    clip = video(9, (16, 16))
    whole = vae.encode(clip)
    assert (torch.cat(list(vae.encode_chunks(pieces(clip, [2, 6]))), 2) - whole).abs().max() < 1e-5
    decoded = vae.decode(whole)
    assert (torch.cat(list(vae.decode_chunks(pieces(whole, [1, 2]))), 2) - decoded).abs().max() < 1e-5


@pytest.mark.parametrize("changed", range(1, 13))
def test_later_frames_never_change_earlier_latents(vae, changed):
    clip = video(13)
    other = clip.clone()
    other[:, :, changed:] = 1 - other[:, :, changed:]
    difference = (vae.encode(clip) - vae.encode(other)).abs().amax((0, 1, 3, 4))
    first = (changed + 3) // 4
    assert difference[:first].sum() < 1e-6 < difference[first]


@pytest.mark.parametrize("changed", range(1, 5))
def test_later_latents_never_change_earlier_frames(vae, changed):
    clip = latent(5)
    other = clip.clone()
    other[:, :, changed:] += 1
    difference = (vae.decode(clip) - vae.decode(other)).abs().amax((0, 1, 3, 4))
    first = 1 + 4 * (changed - 1)
    assert difference[:first].sum() < 1e-6 < difference[first]


def test_a_shorter_clip_is_the_start_of_a_longer_one(vae):
    clip = video(17)
    assert (vae.encode(clip)[:, :, :3] - vae.encode(clip[:, :, :9])).abs().max() < 1e-5


def test_brightness_of_one_frame_does_not_scale_the_others(vae):
    """What a norm over time would do."""
    clip = video(9)
    other = clip.clone()
    other[:, :, 8] *= 100
    assert torch.equal(vae.encode(clip)[:, :, :2], vae.encode(other)[:, :, :2])


def test_rows_of_a_batch_are_apart(vae):
    clip = torch.cat([video(5), video(5) * -1])
    torch.testing.assert_close(vae.encode(clip)[1:], vae.encode(clip[1:]), atol=1e-5, rtol=1e-5)
    decoded = vae.decode(latent(2, batch=2))
    torch.testing.assert_close(decoded[1:], vae.decode(latent(2, batch=2)[1:]), atol=1e-5, rtol=1e-5)


def test_latents_are_normalised_per_channel(vae):
    clip = video(5)
    mean, _ = vae.moments(clip)
    expected = (mean - vae.latent_mean.reshape(-1, 1, 1, 1)) / vae.latent_std.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(vae.encode(clip), expected)
    direct = vae.decoder(mean.permute(0, 2, 3, 4, 1), {})
    torch.testing.assert_close(vae.decode(vae.encode(clip)), direct, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [0, 2, 3, 4, 6, 8])
def test_frames_that_are_not_1_plus_4k(vae, frames):
    with pytest.raises(ValueError, match="1 \\+ 4k frames"):
        vae.encode(video(frames))


def test_nothing_to_encode(vae):
    with pytest.raises(ValueError, match="got 0"):
        list(vae.encode_chunks([]))


@pytest.mark.parametrize("size", [(12, 16), (16, 20), (15, 16)])
def test_pictures_that_are_no_multiple_of_8(vae, size):
    with pytest.raises(ValueError, match="multiples of 8 pixels"):
        vae.encode(video(5, size))


def test_a_host_gives_every_layer_with_weights():
    operations, made = counted("Linear", "Conv2d")
    vae = VideoVAE(VAE, operations=operations)
    raw = {
        type(module).__name__
        for module in vae.modules()
        if any(True for _ in module.parameters(recurse=False)) and module not in made
    }
    assert raw == {"RMSNorm"}
    assert len(made) > 10


def test_a_picture_comes_back_when_trained():
    """A few steps of descent on one clip bring its error down: gradients reach every part."""
    torch.manual_seed(2)
    vae = VideoVAE(VAEConfig(widths=(8, 8, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1)))
    optimiser = torch.optim.Adam(vae.parameters(), 0.01)
    clip = video(5, (16, 16)).mean((2, 3, 4), keepdim=True).expand(1, 3, 5, 16, 16)
    errors = []
    for _ in range(40):
        loss = (vae.decode(vae.encode(clip)) - clip).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert errors[-1] < 0.2 * errors[0]
    unused = [name for name, parameter in vae.named_parameters() if parameter.grad is None]
    assert not unused


@pytest.fixture(scope="module")
def seeing() -> VideoVAE:
    """An autoencoder whose decoder looks at the source."""
    torch.manual_seed(2)
    return stirred(VideoVAE(replace(VAE, skips=True))).requires_grad_(False)


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(1, 6), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_decoding_with_the_source_in_pieces_is_decoding_the_whole(seeing, frames, cuts):
    clip, source = latent(frames), video(1 + 4 * (frames - 1))
    whole = seeing.decode(clip, source)
    found = torch.cat(list(seeing.decode_chunks(pieces(clip, cuts), source)), 2)
    assert found.shape == whole.shape == source.shape
    assert (found - whole).abs().max() < 1e-5
    assert (whole - seeing.decode(clip)).abs().max() > 1e-3


def test_a_decoder_that_paints_nothing_leaves_the_source_as_it_is():
    torch.manual_seed(3)
    vae = VideoVAE(replace(VAE, skips=True)).requires_grad_(False)
    outer = vae.decoder.blend.outer.conv
    outer.weight.zero_()
    outer.bias.fill_(-40.0)
    source = video(9)
    assert (vae.decode(latent(3), source) - source).abs().max() < 1e-5


@pytest.mark.parametrize("other", [video(5), video(9, (16, 32))])
def test_a_source_of_another_length_or_size_is_refused(seeing, other):
    with pytest.raises(ValueError, match="the source has"):
        seeing.decode(latent(3), other)


def test_an_encoder_that_looked_once_has_seen_all_that_a_decoder_needs(seeing):
    clip = video(9)
    encoded, source = seeing.encode_source(clip)
    assert torch.equal(encoded, seeing.encode(clip))
    assert torch.equal(seeing.decode_edit(latent(3), source), seeing.decode(latent(3), clip))


def test_a_source_is_encoded_whole_or_refused(seeing):
    with pytest.raises(ValueError, match="1 \\+ 4k frames, got 8"):
        seeing.encode_source(video(8))


def test_a_decoder_in_bfloat16_keeps_the_source_s_own_pixels():
    """What is left as it is comes back in float32, however coarse the numbers are that decided so."""
    torch.manual_seed(3)
    vae = VideoVAE(replace(VAE, skips=True)).requires_grad_(False).bfloat16()
    outer = vae.decoder.blend.outer.conv
    outer.weight.zero_()
    outer.bias.fill_(-40.0)
    source = video(9)
    decoded = vae.decode(latent(3), source)
    assert decoded.dtype == torch.float32
    assert (decoded - source).abs().max() < 1e-5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_the_norm_is_the_root_of_the_mean_square(dtype, tolerance):
    norm = RMSNorm(24, {"dtype": dtype}).requires_grad_(False)
    norm.weight.copy_(torch.rand(24) + 0.5)
    x = 3 * torch.randn(2, 5, 24, dtype=torch.float64)
    x[0, 0] = 0
    root = (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert (norm(x.to(dtype)) - x / root * norm.weight).abs().max() < tolerance * 3


def test_gradients_of_the_norm_are_finite_where_nothing_is():
    norm, x = RMSNorm(8, {}), torch.zeros(3, 8, requires_grad=True)
    norm(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("later", [False, True])
def test_a_host_s_own_layer_gives_what_the_convolution_gives(stride, later):
    class Own(nn.Linear):
        pass

    plain = CausalConv(6, 8, {}, nn).requires_grad_(False)
    own = CausalConv(6, 8, {}, SimpleNamespace(Linear=Own)).requires_grad_(False)
    own.load_state_dict(plain.state_dict())
    found = []
    for conv in (plain, own):
        memory = {}
        if later:
            conv(torch.linspace(-1, 1, 5 * 4 * 4 * 6).reshape(1, 5, 4, 4, 6), memory)
        found.append(conv(torch.linspace(-2, 3, 8 * 4 * 4 * 6).reshape(1, 8, 4, 4, 6).sin(), memory, stride))
    assert found[0].shape == found[1].shape
    assert (found[0] - found[1]).abs().max() < 1e-5
