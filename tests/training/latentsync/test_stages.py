"""What learns in which stage, from which noise, and that gradients through the engine's network are right."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from omnisync_core.engines.latentsync.unet import UNet
from omnisync_core.errors import CheckpointError, InputError
from omnisync_core.training.latentsync.losses import mixed_noise, noised, one_step
from omnisync_core.training.latentsync.stages import (
    STAGE_1,
    STAGE_2,
    STAGE_2_EFFICIENT,
    FaceBatch,
    Judges,
    StageOptions,
    build_unet,
    freeze,
    loss_at,
    recompute,
    stage_loss,
)
from omnisync_core.training.latentsync.syncnet import StableSyncNet
from tests.engines.latentsync import small
from tests.training.latentsync import known

FRAMES = 4


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return small.unet().state_dict()


def batch(dtype=torch.float32) -> FaceBatch:
    torch.manual_seed(5)
    latents = [torch.randn(1, 4, FRAMES, 4, 4, dtype=dtype) for _ in range(3)]
    return FaceBatch(
        *latents, mask=torch.ones(1, 1, FRAMES, 4, 4, dtype=dtype),
        audio_BFLD=torch.randn(1, FRAMES, 5, small.AUDIO, dtype=dtype),
        pictures_BFCHW=torch.rand(1, FRAMES, 3, 32, 32, dtype=dtype) * 2 - 1, mel_B1MF=torch.randn(1, 1, 80, 52),
    )  # fmt: skip


def judges() -> Judges:
    distances = lambda one, other: (one - other).square().mean((1, 2, 3))  # noqa: E731
    return Judges(
        decode=lambda latents: F.interpolate(latents[:, :3], scale_factor=8),
        syncnet=known.fill(StableSyncNet(known.SYNCNET, checkpointed=True)),
        perceptual=distances,
        motion=lambda video: F.avg_pool3d(video, (2, 56, 56)).flatten(1),
    )


def learning(unet: UNet) -> set[str]:
    return {name for name, parameter in unet.named_parameters() if parameter.requires_grad}


def test_the_published_weights():
    """configs/unet/stage1.yaml, stage2.yaml, stage2_efficient.yaml."""
    weights = [
        (one.reconstruction, one.sync, one.perceptual, one.trepa, one.noise_alpha)
        for one in (STAGE_1, STAGE_2, STAGE_2_EFFICIENT)
    ]
    assert weights == [(1, 0, 0, 0, 1), (1, 0.05, 0.1, 10, 1), (1, 0.05, 0.1, 0, 1)]
    assert not STAGE_1.in_pixels
    assert STAGE_2.in_pixels


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_frames_share_their_part_of_the_noise(alpha):
    torch.manual_seed(0)
    noise = mixed_noise((8, 4, 6, 32, 32), alpha)
    assert noise.var().item() == pytest.approx(1, abs=0.02)
    shared = alpha**2 / (1 + alpha**2)
    assert (noise[:, :, 0] * noise[:, :, 5]).mean().item() == pytest.approx(shared, abs=0.02)
    assert (noise[0] * noise[1]).mean().item() == pytest.approx(0, abs=0.02)


def test_one_step_undoes_the_noise():
    clean, noise, time_B = torch.randn(3, 4, 2, 4, 4), torch.randn(3, 4, 2, 4, 4), torch.tensor([0, 400, 950])
    noisy = noised(clean, noise, time_B)
    assert (one_step(noisy, noise, time_B) - clean).abs().max() < 1e-4
    assert (noisy - clean).square().mean((1, 2, 3, 4)).diff().min() > 0, "more noise at higher timesteps"


def test_stage_1_teaches_everything_but_motion(published):
    unet = build_unet(published, STAGE_1, "a file")
    names = {name for name, _ in unet.named_parameters()}
    assert learning(unet) == names
    assert not [name for name in names if "motion_modules" in name]


def test_stage_2_teaches_motion_and_attention(published):
    unet = build_unet(published, STAGE_2, "a file")
    assert learning(unet) == {
        name for name, _ in unet.named_parameters() if "motion_modules." in name or "attentions." in name
    }
    state = unet.state_dict()
    assert state.keys() == published.keys()
    assert all(torch.equal(state[key], published[key]) for key in state)


def test_the_efficient_stage_teaches_what_hears_and_the_motion_on_the_way_up(published):
    unet = build_unet(published, STAGE_2_EFFICIENT, "a file")
    names = learning(unet)
    assert {name.split(".")[0] for name in names if "motion_modules." in name} == {"up_blocks"}
    assert all("motion_modules." in name or "attn2." in name for name in names)
    assert [name for name in names if name.startswith("down_blocks") and "attn2." in name]
    assert not [key for key in unet.state_dict() if "down_blocks" in key and "motion_modules" in key]


def test_new_motion_modules_change_nothing_yet(published):
    still = {key: value for key, value in published.items() if "motion_modules." not in key}
    torch.manual_seed(0)
    before, after = (build_unet(still, options, "a file").eval() for options in (STAGE_1, STAGE_2))
    assert after.config.max_frames == 24
    assert before.config.max_frames is None
    assert len(after.state_dict()) == len(published), "as many as the published one has"
    given = torch.randn(1, 13, FRAMES, 4, 4), 300, torch.randn(1, FRAMES, 5, small.AUDIO)
    with torch.no_grad():
        assert torch.equal(before(*given), after(*given))
    table = next(value for key, value in after.state_dict().items() if key.endswith("pos_encoder.pe"))[0]
    assert table.shape == (24, 32)
    assert torch.equal(table[0], torch.tensor([0.0, 1.0]).repeat(16))
    assert table[1, :4].tolist() == pytest.approx([0.8415, 0.5403, 0.5332, 0.8460], abs=1e-4)


def test_what_is_no_such_unet_is_refused(published):
    lost = "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"
    half = {key: value for key, value in published.items() if key != lost}
    with pytest.raises(CheckpointError, match="tensors are missing"):
        build_unet(half, STAGE_2, "a file")
    with pytest.raises(CheckpointError, match="no LatentSync UNet"):
        build_unet({"a": torch.zeros(1)}, STAGE_1, "a file")
    with pytest.raises(InputError, match="nothing of the UNet learns"):
        freeze(small.unet(), replace(STAGE_2, trained=("attn9.",)))


def test_every_judge_counts_as_it_weighs_and_only_what_learns_is_taught(published):
    unet, judging = recompute(build_unet(published, STAGE_2, "a file")), judges()
    given, noise, time_B = batch(), torch.randn(1, 4, FRAMES, 4, 4), torch.tensor([200])
    losses = loss_at(unet, given, noise, time_B, judging, STAGE_2)
    parts = {name: float(losses[name]) for name in ("reconstruction", "sync", "perceptual", "trepa")}
    assert all(value > 0 for value in parts.values())
    assert losses["loss"].item() == pytest.approx(
        sum(getattr(STAGE_2, name) * value for name, value in parts.items()), rel=1e-5
    )
    losses["loss"].backward()
    taught = {name for name, parameter in unet.named_parameters() if parameter.grad is not None}
    assert taught == learning(unet)
    assert all(parameter.grad is None for parameter in judging.syncnet.parameters())
    hearing = next(value for name, value in unet.named_parameters() if name.endswith("attn2.to_k.weight"))
    assert hearing.grad.abs().max() > 0


def test_stage_1_asks_no_judge(published):
    losses = stage_loss(build_unet(published, STAGE_1, "a file"), batch(), Judges(), STAGE_1)
    assert losses.keys() == {"loss", "reconstruction"}
    assert losses["loss"] == losses["reconstruction"]


def test_gradients_are_those_of_finite_differences_kept_or_computed_again(published):
    """The engine's network takes sums in place: that must not touch what a gradient needs."""
    options = StageOptions(motion=("down_blocks", "up_blocks"))
    unet = build_unet(published, options, "a file").double()
    given, noise, time_B = batch(torch.float64), torch.randn(1, 4, FRAMES, 4, 4).double(), torch.tensor([500])

    def loss() -> torch.Tensor:
        return loss_at(unet, given, noise, time_B, Judges(), options)["loss"]

    def gradients() -> list[torch.Tensor]:
        unet.zero_grad()
        loss().backward()
        return [parameter.grad.clone() for parameter in unet.parameters()]

    kept = gradients()
    recompute(unet)
    assert all(torch.equal(one, other) for one, other in zip(kept, gradients(), strict=True))
    ways, step = [torch.randn_like(parameter) for parameter in unet.parameters()], 1e-5
    along = float(sum((way * gradient).sum() for way, gradient in zip(ways, kept, strict=True)))
    found = 0.0
    with torch.no_grad():
        for sign in (1, -1):
            torch._foreach_add_(list(unet.parameters()), ways, alpha=sign * step)
            found += sign * float(loss())
            torch._foreach_add_(list(unet.parameters()), ways, alpha=-sign * step)
    assert found / (2 * step) == pytest.approx(along, rel=1e-4)
