"""The flow against paths that are known in closed form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.diffusion import flow
from omnisync_core.errors import InputError

sigma_values = st.floats(0.01, 1)


def pair(shape=(2, 3, 2, 4, 4)):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_noise_by_hand():
    x0, eps = torch.tensor([[4.0]]), torch.tensor([[-1.0]])
    assert flow.add_noise(x0, eps, 0.92).item() == pytest.approx(0.08 * 4 - 0.92)
    assert flow.add_noise(x0, eps, 0.0).item() == 4
    assert flow.add_noise(x0, eps, 1.0).item() == -1


@settings(deadline=None, max_examples=50)
@given(sigma_values)
def test_velocity_is_noise_minus_data_and_leads_back(sigma):
    x0, eps = pair()
    x = flow.add_noise(x0, eps, sigma)
    torch.testing.assert_close(flow.velocity(x, x0, sigma), eps - x0, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(flow.clean(x, eps - x0, sigma), x0, atol=1e-5, rtol=1e-5)


def test_every_sample_of_a_batch_has_its_own_level():
    x0, eps = pair()
    levels = torch.tensor([0.25, 0.75])
    batched = flow.add_noise(x0, eps, levels)
    for row, level in enumerate(levels):
        torch.testing.assert_close(batched[row], flow.add_noise(x0[row], eps[row], float(level)))
    torch.testing.assert_close(flow.clean(batched, eps - x0, levels), x0, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(flow.velocity(batched, x0, levels), eps - x0, atol=1e-5, rtol=1e-5)


def test_linear_levels():
    torch.testing.assert_close(flow.linear_sigmas(4, 0.8), torch.tensor([0.8, 0.6, 0.4, 0.2, 0.0]))
    assert len(flow.linear_sigmas(50)) == 51
    assert flow.linear_sigmas(50)[0] == 1


@pytest.mark.parametrize(("steps", "tau"), [(0, 0.9), (-3, 0.9), (5, 0.0), (5, 1.01), (5, -1.0), (5, float("nan"))])
def test_what_is_no_schedule(steps, tau):
    with pytest.raises(InputError, match="must be"):
        flow.linear_sigmas(steps, tau)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 12), st.integers(1, 60), st.floats(0.1, 1))
def test_shift_keeps_both_ends_and_the_order(shift, steps, tau):
    sigmas = flow.linear_sigmas(steps, tau)
    shifted = flow.shift_sigmas(sigmas, shift)
    assert shifted[0].item() == pytest.approx(tau, rel=1e-5)
    assert shifted[-1] == 0
    assert (shifted.diff() < 0).all()


def test_shift_by_hand():
    shifted = flow.shift_sigmas(torch.tensor([1.0, 0.5, 0.0]), 3.0)
    torch.testing.assert_close(shifted, torch.tensor([1.0, 0.75, 0.0]))
    torch.testing.assert_close(flow.shift_sigmas(torch.tensor([0.9, 0.3, 0.0]), 1.0), torch.tensor([0.9, 0.3, 0.0]))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_euler_is_exact_on_a_straight_path(steps):
    x0, eps = pair()
    start = flow.add_noise(x0, eps, 0.92)
    result = flow.euler(lambda x, sigma: eps - x0, start, flow.linear_sigmas(steps, 0.92))
    torch.testing.assert_close(result, x0, atol=1e-5, rtol=1e-5)


def test_euler_on_a_curved_path_by_hand():
    # dx/dsigma = x, two steps of 1/2 down from 1: x * (1 - 1/2) * (1 - 1/2).
    result = flow.euler(lambda x, sigma: x, torch.tensor([8.0]), flow.linear_sigmas(2))
    assert result.item() == pytest.approx(2.0)


def test_on_step_decides_the_state_and_may_cancel():
    seen = []

    def double(index, x):
        seen.append((index, x.item()))
        return 2 * x

    result = flow.euler(lambda x, sigma: torch.ones(1), torch.tensor([1.0]), torch.tensor([1.0, 0.5, 0.0]), double)
    assert seen == [(0, 0.5), (1, 0.5)]
    assert result.item() == 1

    def stop(index, x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flow.euler(lambda x, sigma: x, torch.ones(1), flow.linear_sigmas(3), stop)


def test_the_state_keeps_its_type():
    x = torch.ones(2, 1, dtype=torch.bfloat16)
    assert flow.add_noise(x, x, torch.tensor([0.1, 0.9])).dtype == torch.bfloat16
    assert flow.euler(lambda x, sigma: x, x, flow.linear_sigmas(2)).dtype == torch.bfloat16
