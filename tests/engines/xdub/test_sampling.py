"""The loop: what the branches weigh, what is held, and what may be left out."""

from itertools import pairwise

import pytest
import torch

from omnisync_core.engines.xdub import sample, sampling
from omnisync_core.errors import InputError

SHAPE = (1, 2, 4, 6, 5)


def drawn(seed: int, shape=SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Linear:
    """Velocities that are known: each branch is a multiple of the latents and a constant."""

    FACTORS = {"none": 0.5, "ref": 0.2, "full": -0.3}  # noqa: RUF012

    def __init__(self):
        self.calls = []

    def __call__(self, latents, sigma, branches):
        self.calls.append((round(sigma, 4), branches))
        return torch.cat([self.FACTORS[name] * latents + sigma for name in branches])


def test_the_steps_are_euler_s_along_the_weighted_branches():
    levels, x = sampling.sigmas(4), drawn(0)
    found = sample(Linear(), x, drawn(1), levels, ref_cfg_scale=3.0, audio_cfg_scale=5.0, dynamic=False, border=0)
    for before, after in pairwise(levels):
        u, r, f = (factor * x + before for factor in Linear.FACTORS.values())
        x = x + (after - before) * (u + 3.0 * (r - u) + 5.0 * (f - r))
    assert torch.allclose(found, x, atol=1e-5)


def test_weights_by_noise_level():
    assert sampling.audio_weight(1.0, 10) == 10
    assert sampling.audio_weight(0.25, 10) == pytest.approx(1.25)
    levels = {1.0: 2.5, 0.85: 2.5, 0.8: 2.0, 0.75: 1.5, 0.5: 1.5, 0.45: 1.5, 0.4: 1.125, 0.35: 0.75, 0.1: 0.75}
    assert {level: sampling.reference_weight(level, 2.5) for level in levels} == pytest.approx(levels)


def test_noise_levels():
    levels = sampling.sigmas(30)
    assert len(levels) == 31
    assert float(levels[0]) == 1
    assert float(levels[-1]) == 0
    u = 1 - torch.arange(31) / 30
    assert torch.allclose(levels, 5 * u / (1 + 4 * u), atol=1e-6)


def test_border_and_motion_are_held():
    seen, noise, source, motion = [], drawn(0), drawn(1), drawn(2, (1, 2, 2, 6, 5))

    def velocity(latents, sigma, branches):
        seen.append((sigma, latents))
        return torch.cat([latents * 0.1] * len(branches))

    kept = [value.clone() for value in (noise, source, motion)]
    found = sample(velocity, noise, source, sampling.sigmas(3), motion_latents=motion, border=2)
    edge = torch.ones(6, 5, dtype=torch.bool)
    edge[2:4, 2:3] = False
    for sigma, latents in [*seen, (0.0, found)]:
        level = min(sigma, 0.95)
        expected = (1 - level) * source + level * noise
        assert torch.allclose(latents[:, :, 2:, edge], expected[:, :, 2:, edge])
        assert torch.equal(latents[:, :, :2], motion)
        assert not torch.allclose(latents[:, :, 2:, ~edge], expected[:, :, 2:, ~edge])
    assert all(torch.equal(value, was) for value, was in zip((noise, source, motion), kept, strict=True))


def test_reuse_asks_all_branches_at_every_other_step_only():
    plain, shared = Linear(), Linear()
    levels = sampling.sigmas(6)
    exact = sample(plain, drawn(0), drawn(1), levels, border=0)
    found = sample(shared, drawn(0), drawn(1), levels, border=0, reuse=2)
    assert [branches for _, branches in plain.calls] == [sampling.BRANCHES] * 6
    assert [len(branches) for _, branches in shared.calls] == [3, 1] * 3
    assert not torch.equal(found, exact)
    assert (found - exact).abs().mean() < exact.abs().mean()


def test_reuse_is_exact_where_the_branches_differ_by_a_constant():
    def velocity(latents, sigma, branches):
        return torch.cat([latents * 0.3 + {"none": 0.0, "ref": 1.0, "full": 3.0}[name] for name in branches])

    every = sample(velocity, drawn(0), drawn(1), sampling.sigmas(6))
    third = sample(velocity, drawn(0), drawn(1), sampling.sigmas(6), reuse=3)
    assert torch.allclose(every, third, atol=1e-5)


def test_below_a_noise_level_the_full_branch_is_asked_alone():
    asked = Linear()
    sample(asked, drawn(0), drawn(1), sampling.sigmas(10), unguided_below=0.7)
    assert all((len(branches) == 1) == (level < 0.7) for level, branches in asked.calls)
    assert {len(branches) for _, branches in asked.calls} == {1, 3}


def test_steps_are_told_and_can_stop():
    seen = []

    def on_step(step, steps):
        seen.append((step, steps))
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(Linear(), drawn(0), drawn(1), sampling.sigmas(4), on_step=on_step)
    assert seen == [(1, 4), (2, 4)]
    with pytest.raises(InputError, match="reuse"):
        sample(Linear(), drawn(0), drawn(1), sampling.sigmas(4), reuse=0)
