"""The size laws, by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.spec import VideoSpec


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 500))
def test_padding_is_the_next_length_that_fits(frames):
    spec = VideoSpec()
    padded = spec.pad_frames(frames)
    assert max(frames, 1) <= padded < max(frames, 1) + 4
    assert 4 * (spec.latent_frames(padded) - 1) + 1 == padded


@pytest.mark.parametrize("frames", [0, 2, 4, 16, -3])
def test_lengths_without_latents(frames):
    with pytest.raises(ValueError, match=f"1 \\+ 4k frames, got {frames}"):
        VideoSpec().latent_frames(frames)


@pytest.mark.parametrize(
    ("fps", "stride"), [(12, 1), (24, 1), (29.97, 1), (30.5, 1), (31, 2), (50, 2), (60, 2), (61.5, 3), (120, 4)]
)
def test_fast_video_is_edited_at_a_part_of_its_frames(fps, stride):
    assert VideoSpec().frame_stride(fps) == stride


@pytest.mark.parametrize("sizes", [{"window_frames": 16}, {"overlap_frames": 17}, {"overlap_frames": -1}])
def test_sizes_that_do_not_fit_each_other(sizes):
    with pytest.raises(ValueError, match="must be"):
        VideoSpec(**sizes)
