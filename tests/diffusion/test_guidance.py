"""DS-CFG: the three readings of the formula by hand, and where they may not be told apart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.diffusion import CONVENTIONS
from omnisync_core.diffusion.guidance import Guidance, gaussian, guide, mouth_per_latent_frame
from omnisync_core.errors import InputError

MOUTH = torch.tensor([[0.5, 0.5, 0.4]])


def at_mouth_and_far(convention, sigma, **values):
    """Weights where the Gaussian is 1 (pixel centre 2.5 of 5) and, by a tiny sigma_g, 0."""
    guidance = Guidance(convention=convention, sigma_g=0.01, **values)
    weight = guidance.weight(sigma, MOUTH, (5, 5))
    return weight[0, 2, 2].item(), weight[0, 0, 0].item()


@pytest.mark.parametrize(
    ("convention", "sigma", "mouth", "far"),
    [
        # w_peak 9, w_base 1, gamma 1.5; 0.25 ** 1.5 = 0.125.
        ("paper", 1.0, 81.0, 9.0),
        ("paper", 0.25, 81 / 8, 9 / 8),
        ("normalised", 1.0, 9.0, 1.0),
        ("normalised", 0.25, 9 / 8, 1 / 8),
        ("floored", 1.0, 9.0, 1.0),
        ("floored", 0.25, 2.0, 1.0),
        ("paper", 0.0, 0.0, 0.0),
        ("normalised", 0.0, 0.0, 0.0),
        ("floored", 0.0, 1.0, 1.0),
    ],
)
def test_the_three_readings_by_hand(convention, sigma, mouth, far):
    found = at_mouth_and_far(convention, sigma, w_peak=9.0, w_base=1.0, gamma=1.5)
    assert found == pytest.approx((mouth, far))


def test_base_weight_elsewhere():
    assert at_mouth_and_far("normalised", 1.0, w_peak=4.0, w_base=2.0, gamma=0.0) == pytest.approx((4, 2))
    assert at_mouth_and_far("floored", 0.25, w_peak=4.0, w_base=2.0, gamma=0.5) == pytest.approx((2.5, 1.5))
    assert at_mouth_and_far("paper", 0.25, w_peak=4.0, w_base=2.0, gamma=0.5) == pytest.approx((8, 4))


def test_sigma_may_be_a_tensor():
    guidance = Guidance(w_peak=5.0)
    assert torch.equal(guidance.weight(torch.tensor(0.5), MOUTH, (4, 6)), guidance.weight(0.5, MOUTH, (4, 6)))


def test_gaussian_by_hand():
    # Pixel centres of 4 columns: .125 .375 .625 .875; mouth at (.375, .125), s = .5 * .5 = .25.
    values = gaussian(torch.tensor([[0.375, 0.125, 0.5]]), (2, 4), sigma_g=0.5)
    assert values.shape == (1, 2, 4)

    def expected(x, y):
        return math.exp(-((x - 0.375) ** 2 + (y - 0.125) ** 2) / (2 * 0.25**2))

    for row, y in enumerate((0.25, 0.75)):
        for column, x in enumerate((0.125, 0.375, 0.625, 0.875)):
            assert values[0, row, column].item() == pytest.approx(expected(x, y), rel=1e-5)


def test_a_mouth_without_width_is_a_point():
    values = gaussian(torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.4, 0.0]]), (5, 5), 0.7)
    assert values[0, 2, 2] == 1
    assert values[0].sum() == 1
    assert values[1].sum() == 0


def test_every_frame_has_its_own_mouth():
    mouths = torch.tensor([[0.15, 0.25, 0.2], [0.95, 0.85, 0.2], [0.95, 0.05, 0.2]])
    places = [divmod(int(frame.argmax()), 10) for frame in gaussian(mouths, (10, 10), 0.5)]
    assert places == [(2, 1), (8, 9), (0, 9)]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(CONVENTIONS), st.floats(0, 1), st.floats(0, 100), st.floats(0, 100), st.floats(0, 5),
    st.floats(0.01, 100), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1),
)  # fmt: skip
def test_weights_stay_between_their_bounds(convention, sigma, w_peak, w_base, gamma, sigma_g, x, y, width):
    guidance = Guidance(w_peak, w_base, gamma, sigma_g, convention)
    weight = guidance.weight(sigma, torch.tensor([[x, y, width]]), (6, 6))
    low, high = sorted((w_peak, w_base))
    factor = w_peak * sigma**gamma if convention == "paper" else sigma**gamma
    bounds = [1 + (value - 1) * factor if convention == "floored" else value * factor for value in (low, high)]
    margin = 1e-3 * (1 + max(map(abs, bounds)))
    assert torch.isfinite(weight).all()
    assert bounds[0] - margin <= weight.min()
    assert weight.max() <= bounds[1] + margin


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(CONVENTIONS), st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([1.0, 3.0]),
       st.sampled_from([0.0, 1.5]))  # fmt: skip
def test_off_means_one_everywhere_and_always(convention, w_base, w_peak, gamma):
    guidance = Guidance(w_peak=w_peak, w_base=w_base, gamma=gamma, convention=convention)
    weights = torch.stack([guidance.weight(sigma, MOUTH, (5, 5)) for sigma in (1.0, 0.6, 0.1)])
    assert guidance.is_off == bool((weights == 1).all())


def test_the_default_guides():
    assert not Guidance().is_off
    assert Guidance(w_peak=1.0, w_base=1.0, convention="floored").is_off


@pytest.mark.parametrize("name", ["w_peak", "w_base", "gamma", "sigma_g"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 101.0])
def test_numbers_that_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        Guidance(**{name: value})


def test_other_refusals():
    with pytest.raises(InputError, match="sigma_g"):
        Guidance(sigma_g=0.0)
    with pytest.raises(InputError, match="paper, normalised, floored"):
        Guidance(convention="plain")


def test_guide_is_classifier_free_guidance():
    generator = torch.Generator().manual_seed(0)
    unconditional, conditional = torch.randn(2, 1, 4, 3, 5, 5, generator=generator)
    for weight, expected in (
        (0.0, unconditional), (1.0, conditional), (3.0, 3 * conditional - 2 * unconditional),
    ):  # fmt: skip
        found = guide(unconditional, conditional, torch.full((3, 5, 5), weight))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    half = guide(unconditional, conditional, torch.ones(3, 5, 5) * torch.tensor([0.0, 1.0, 2.0])[:, None, None])
    torch.testing.assert_close(half[:, :, 0], unconditional[:, :, 0])
    torch.testing.assert_close(half[:, :, 1], conditional[:, :, 1])


def test_mouths_of_latent_frames():
    mouth_T3 = torch.arange(9).float()[:, None].expand(9, 3)
    found = mouth_per_latent_frame(mouth_T3, 4)
    assert found.shape == (3, 3)
    assert found[:, 0].tolist() == [0.0, 2.5, 6.5]
