"""The engine of tiny random networks: its protocol, and that a window is sampled as the paper says."""

import itertools
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from omnisync_core.audio import SAMPLE_RATE, ArrayWave
from omnisync_core.checkpoint import write_bundle
from omnisync_core.diffusion import CONVENTIONS, flow
from omnisync_core.diffusion.guidance import Guidance
from omnisync_core.engines.latents import Held
from omnisync_core.engines.omnisync import OmniSyncEngine, Sampling, choose_device, choose_dtype, load_engine
from omnisync_core.engines.protocol import Excerpt
from omnisync_core.errors import CheckpointError, InputError
from tests import tiny
from tests.fake import edit_alone

FRAMES, SIZE = 9, tiny.SPEC.crop_size
MOUTH = np.tile(np.float32([0.5, 0.6, 0.4]), (FRAMES, 1))
OFF = Guidance(w_peak=1.0, w_base=1.0, convention="floored")


def picture(frames=FRAMES, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random((frames, SIZE, SIZE, 3), np.float32)


def sampling(**values) -> Sampling:
    return Sampling(**{"steps": 3, "guidance": Guidance(w_peak=3.0), **values})


def spoken(engine: OmniSyncEngine, frames=FRAMES) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32)
    return engine.speech(ArrayWave(noise)).at(0.3 + np.arange(frames) / 25)


def edited(
    engine, *, frames=FRAMES, seed=7, anchor=None, on_step=lambda step, steps: None, speech=None, frames_THWC=None
):
    heard = spoken(engine, frames) if speech is None else speech
    given = picture(frames) if frames_THWC is None else frames_THWC
    return edit_alone(engine, given, heard, MOUTH[:frames], anchor=anchor, seed=seed, on_step=on_step)


def batches(engine: OmniSyncEngine) -> list[int]:
    """Rows of every call of the transformer, filled as they come."""
    seen: list[int] = []
    engine.dit.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    return seen


def latents(engine: OmniSyncEngine, frames_THWC: np.ndarray) -> torch.Tensor:
    video = torch.as_tensor(frames_THWC).permute(3, 0, 1, 2)[None] * 2 - 1
    return engine.vae.encode(video)


def pictures(engine: OmniSyncEngine, latent: torch.Tensor) -> np.ndarray:
    return ((engine.vae.decode(latent)[0] + 1) / 2).clamp(0, 1).permute(1, 2, 3, 0).numpy()


def test_what_comes_out():
    engine, steps = tiny.engine(sampling()), []
    edit = edited(engine, on_step=lambda step, total: steps.append((step, total)))
    for frames in (edit.edited_THWC, edit.reference_THWC):
        assert frames.shape == (FRAMES, SIZE, SIZE, 3)
        assert frames.dtype == np.float32
        assert frames.min() >= 0
        assert frames.max() <= 1
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert np.abs(edit.edited_THWC - edit.reference_THWC).max() > 0.01


def test_the_reference_is_the_source_through_the_codec():
    engine = tiny.engine(sampling())
    expected = pictures(engine, latents(engine, picture()))
    np.testing.assert_allclose(edited(engine).reference_THWC, expected, atol=1e-5)


def test_the_same_seed_gives_the_same_bits():
    first, again, other = (edited(tiny.engine(sampling()), seed=seed).edited_THWC for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_ran_before_does_not_matter():
    engine = tiny.engine(sampling())
    first = edited(engine).edited_THWC
    torch.manual_seed(99)
    edited(engine, seed=3, frames=5)
    assert np.array_equal(edited(engine).edited_THWC, first)


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_windows_of_1_plus_4k_frames(frames):
    assert edited(tiny.engine(sampling()), frames=frames).edited_THWC.shape[0] == frames


@pytest.mark.parametrize("frames", [0, 2, 8])
def test_other_windows(frames):
    with pytest.raises(ValueError, match="1 \\+ 4k"):
        edited(tiny.engine(sampling()), frames=frames, speech=np.zeros((frames, 2, 16), np.float32))


@pytest.mark.parametrize("speech", [0.0, 1.0])
def test_the_path_by_hand(speech):
    """Without guidance: progressive noise on the source, Euler's steps along the network's velocity, decoded."""
    engine = tiny.engine(sampling(guidance=OFF, tau=0.8, steps=2))
    heard = np.full((FRAMES, 2, 16), speech, np.float32)
    found = edited(engine, speech=heard).edited_THWC
    source = latents(engine, picture())
    eps = torch.randn(source.shape, generator=torch.Generator().manual_seed(7))
    x = 0.2 * source + 0.8 * eps
    for sigma in (0.8, 0.4):
        x = x - 0.4 * engine.dit(x, torch.tensor([sigma]), source, torch.as_tensor(heard)[None], engine.text)
    np.testing.assert_allclose(found, pictures(engine, x), atol=1e-4)


def test_tau_steps_seed_prompt_and_sound_matter():
    base = sampling()
    first = edited(tiny.engine(base)).edited_THWC
    for other in (replace(base, tau=0.7), replace(base, steps=4), replace(base, prompt="A cat mumbles.")):
        assert np.abs(edited(tiny.engine(other)).edited_THWC - first).max() > 1e-4
    louder = 2 * spoken(tiny.engine(base))
    assert np.abs(edited(tiny.engine(base), speech=louder).edited_THWC - first).max() > 1e-4


def test_little_noise_changes_little():
    changes = []
    for tau in (0.02, 0.92):
        edit = edited(tiny.engine(sampling(tau=tau, guidance=OFF)))
        changes.append(np.abs(edit.edited_THWC - edit.reference_THWC).mean())
    assert changes[0] < 0.2 * changes[1]


@pytest.mark.parametrize("count", [1, 5])
def test_the_anchor_is_how_the_window_begins(count):
    engine = tiny.engine(sampling())
    anchor = picture(count, seed=5)
    found = edited(engine, anchor=anchor).edited_THWC
    np.testing.assert_allclose(found[:count], pictures(engine, latents(engine, anchor)), atol=1e-4)
    free = edited(engine).edited_THWC
    assert np.abs(found[count:] - free[count:]).max() > 1e-4


def test_the_anchor_lies_on_the_path_at_every_level():
    engine, seen = tiny.engine(sampling(tau=0.9)), []
    engine.dit.register_forward_pre_hook(lambda module, given: seen.append((given[0][0].clone(), float(given[1][0]))))
    anchor = picture(5, seed=5)
    edited(engine, anchor=anchor)
    fixed, whole = latents(engine, anchor)[0], latents(engine, picture())
    eps = torch.randn(whole.shape, generator=torch.Generator().manual_seed(7))[0, :, :2]
    assert [level for _, level in seen] == pytest.approx([0.9, 0.6, 0.3])
    for x, level in seen:
        torch.testing.assert_close(x[:, :2], flow.add_noise(fixed, eps, level), atol=1e-4, rtol=1e-4)


def test_a_group_is_encoded_then_sampled_then_decoded():
    """Three strokes, and a window that starts anew is as it would be alone."""
    used: list[str] = []

    @contextmanager
    def resident(module):
        used.append(type(module).__name__)
        yield

    engine = tiny.engine(sampling(), resident=resident)
    windows = [Excerpt(picture(seed=seed), spoken(engine), MOUTH, seed=seed) for seed in range(3)]
    alone = [edited(engine, seed=seed, frames_THWC=window.frames_THWC) for seed, window in enumerate(windows)]
    used.clear()
    edits = list(engine.edit_group(windows, anchor=None, on_step=lambda step, steps: None))
    assert [kind for kind, _ in itertools.groupby(used)] == ["VideoVAE", "DiT", "VideoVAE"]
    assert used.count("DiT") == 3
    for edit, expected in zip(edits, alone, strict=True):
        np.testing.assert_array_equal(edit.edited_THWC, expected.edited_THWC)
        np.testing.assert_array_equal(edit.reference_THWC, expected.reference_THWC)


@pytest.mark.parametrize(("lead", "count"), [(5, 1), (9, 2)])
def test_inside_a_group_a_window_goes_on_with_the_edit(lead, count):
    """The last latent frames of a window hold the video frames of those after the first one of the next."""
    engine = tiny.engine(sampling())
    seen, ends = [], []
    engine.decode = lambda latent: ends.append(latent.clone()) or np.zeros(1)
    engine.dit.register_forward_pre_hook(lambda module, given: seen.append((given[0][0].clone(), float(given[1][0]))))
    first, second = (Excerpt(picture(seed=seed), spoken(engine), MOUTH, seed, lead) for seed in range(2))
    list(engine.edit_group([first, second], anchor=None, on_step=lambda step, steps: None))
    result_before, source_before, result, source = (latent[0] for latent in ends)
    expected = source[:, 1 : 1 + count] + (result_before - source_before)[:, -count:]
    eps = torch.randn((1, *source.shape), generator=torch.Generator().manual_seed(1))[0, :, 1 : 1 + count]
    for x, level in seen[3:]:
        torch.testing.assert_close(x[:, 1 : 1 + count], flow.add_noise(expected, eps, level), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(result[:, 1 : 1 + count], expected)
    assert (result[:, 0] - source[:, 0]).abs().max() > 1e-3


def test_the_edit_handed_on_is_the_edit_seen_by_the_next_window():
    """With the shipped autoencoder: far nearer to it than the latents themselves, and as near as by way of pixels."""
    engine = load_engine(dtype="float32", device="cpu")
    video = np.stack([drifting(index) for index in range(29)])
    other = video.copy()
    other[:, 50:70, 30:66] *= 0.5
    with torch.inference_mode():
        source_before, source, result_before, true = (
            engine.encode(frames) for frames in (video[:17], video[12:], other[:17], other[12:])
        )
        pixels = engine.encode(engine.decode(result_before)[-5:])
    handed = Held.following(source, source_before, result_before, 5, 4).latent_BCthw
    error, plain, through_pixels = (
        (latent[:, :, -1] - true[:, :, 1]).square().mean() for latent in (handed, result_before, pixels)
    )
    assert error < 0.2 * plain
    assert error < 1.5 * through_pixels


def drifting(index: int) -> np.ndarray:
    """A drifting pattern, 96 x 96."""
    y, x = np.mgrid[:96, :96] / 96
    waves = [np.sin((x + 0.01 * index) * hue) * np.cos(y * hue) for hue in (7, 11, 17)]
    return (0.5 + 0.4 * np.stack(waves, -1)).astype(np.float32)


def test_guidance_runs_both_branches_in_one_batch():
    engine = tiny.engine(sampling())
    seen = batches(engine)
    edited(engine)
    assert seen == [2, 2, 2]


@pytest.mark.parametrize(
    "guidance",
    [OFF, replace(OFF, gamma=0.0), Guidance(w_peak=1.0, gamma=0.0, convention="normalised"),
     Guidance(w_peak=1.0, gamma=0.0, convention="paper")],
)  # fmt: skip
def test_a_weight_of_one_leaves_the_unconditional_pass_out(guidance):
    engine = tiny.engine(sampling(guidance=guidance))
    seen = batches(engine)
    found = edited(engine).edited_THWC
    assert seen == [1, 1, 1]
    nearly = replace(guidance, w_base=1.0 + 1e-6)
    np.testing.assert_allclose(edited(tiny.engine(sampling(guidance=nearly))).edited_THWC, found, atol=1e-4)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_weight_that_is_the_same_everywhere_is_plain_guidance(convention):
    scale = 2.0
    total = scale**2 if convention == "paper" else scale
    engine = tiny.engine(sampling(guidance=Guidance(scale, scale, gamma=0.0, convention=convention)))
    found = edited(engine).edited_THWC
    source, heard = latents(engine, picture()), torch.as_tensor(spoken(engine))[None]
    x = flow.add_noise(source, torch.randn(source.shape, generator=torch.Generator().manual_seed(7)), 0.92)
    sigmas = flow.linear_sigmas(3, 0.92)
    for level, below in itertools.pairwise(sigmas):
        given = level.reshape(1), source
        conditional = engine.dit(x, *given, heard, engine.text)
        unconditional = engine.dit(x, *given, torch.zeros_like(heard), torch.zeros_like(engine.text))
        x = x + (below - level) * (unconditional + total * (conditional - unconditional))
    np.testing.assert_allclose(found, pictures(engine, x), atol=1e-3)


def test_cancel_and_go_on():
    engine = tiny.engine(sampling())
    first = edited(engine).edited_THWC

    class Cancelled(BaseException):
        """As a host's, which is no Exception."""

    def stop(step, steps):
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        edited(engine, on_step=stop)
    assert not torch.is_inference_mode_enabled()
    assert np.array_equal(edited(engine).edited_THWC, first)


def test_networks_are_resident_exactly_while_they_run():
    inside, entered = [], []

    @contextmanager
    def resident(module):
        inside.append(module)
        entered.append(module)
        try:
            yield
        finally:
            inside.pop()

    def check(network):
        assert inside == [network]

    parts = tiny.networks()
    for network in parts.values():
        for module in network.modules():
            module.register_forward_pre_hook(lambda *_, network=network: check(network))
    engine = OmniSyncEngine(parts, tiny.SPEC, sampling(), "x", resident=resident)
    edited(engine, anchor=picture(5))
    edited(engine)
    assert not inside
    assert set(entered) == set(parts.values())

    def stop(step, steps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edited(engine, on_step=stop)
    assert not inside


def test_the_fingerprint_says_what_decides():
    engine = tiny.engine(sampling())
    fingerprint_of = engine.fingerprint
    assert json.loads(json.dumps(fingerprint_of)) == fingerprint_of
    assert fingerprint_of["model"] == "tiny"
    assert fingerprint_of["dtype"] == "torch.float32"
    others = (replace(engine.sampling, tau=0.5), replace(engine.sampling, guidance=OFF))
    assert all(tiny.engine(other).fingerprint != fingerprint_of for other in others)
    further = tiny.networks()
    further["dit"].config = replace(further["dit"].config, overshoot=1.0)
    assert OmniSyncEngine(further, tiny.SPEC, sampling(), "tiny").fingerprint != fingerprint_of


def test_half_precision_gives_the_same_edit_roughly():
    exact = edited(tiny.engine(sampling())).edited_THWC
    parts = tiny.networks()
    parts["dit"].bfloat16()
    half = OmniSyncEngine(parts, tiny.SPEC, sampling(), "tiny")
    assert half.fingerprint["dtype"] == "torch.bfloat16"
    assert np.abs(edited(half).edited_THWC - exact).mean() < 0.03


def test_a_bundle_becomes_the_engine_that_was_written(tmp_path):
    path = tmp_path / "tiny.safetensors"
    digest = write_bundle(path, tiny.networks(), tiny.CONFIG, dtype=torch.float32)
    settings = {"steps": 3, "guidance": Guidance(w_peak=3.0), "device": "cpu", "dtype": "float32"}
    engine = load_engine(path, **settings)
    assert engine.spec == tiny.SPEC
    assert engine.fingerprint["model"] == digest
    assert np.array_equal(edited(engine).edited_THWC, edited(tiny.engine(sampling())).edited_THWC)
    assert load_engine(path, **{**settings, "dtype": "bfloat16"}).dit.patch_embedding.weight.dtype == torch.bfloat16
    assert all(not p.requires_grad for p in engine.dit.parameters())
    assert not engine.dit.training


def test_a_bundle_says_how_it_is_sampled_and_a_choice_wins(tmp_path):
    path = tmp_path / "tiny.safetensors"
    own = {"steps": 1, "tau": 0.9, "guidance": {"w_peak": 1.5, "gamma": 2.0}}
    write_bundle(path, tiny.networks(), {**tiny.CONFIG, "sampling": own})
    assert load_engine(path).sampling == Sampling(1, 0.9, Guidance(w_peak=1.5, gamma=2.0))
    assert load_engine(path, steps=4).sampling == Sampling(4, 0.9, Guidance(w_peak=1.5, gamma=2.0))
    assert load_engine(path, tau=0.5, guidance={"w_peak": 3.0}).sampling == Sampling(1, 0.5, Guidance(3.0, gamma=2.0))
    assert load_engine(path, guidance=Guidance()).sampling == Sampling(1, 0.9, Guidance())


def test_a_bundle_that_says_nothing_is_sampled_as_usual(tmp_path):
    path = tmp_path / "tiny.safetensors"
    write_bundle(path, tiny.networks(), tiny.CONFIG)
    assert load_engine(path).sampling == Sampling()


@pytest.mark.parametrize(
    "own", [{"steps": 0}, {"tau": 2.0}, {"guidance": {"w_peak": -1}}, {"pace": 1}, {"guidance": 3}]
)
def test_a_bundle_that_asks_for_nonsense_is_refused(tmp_path, own):
    path = tmp_path / "tiny.safetensors"
    write_bundle(path, tiny.networks(), {**tiny.CONFIG, "sampling": own})
    with pytest.raises(CheckpointError, match="describes no OmniSync model"):
        load_engine(path)


def test_the_mini_takes_one_step_of_its_own_prediction():
    mini = load_engine()
    assert mini.sampling.steps == 1
    assert mini.sampling.guidance.is_off
    assert mini.dit.config.overshoot == 0


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"tau": 0.0}, "tau"), ({"tau": 1.1}, "tau"), ({"tau": float("nan")}, "tau"), ({"steps": 0}, "steps"),
     ({"device": "teapot"}, "device"), ({"device": ""}, "device"), ({"device": "meta"}, "'meta' cannot be used here"),
     ({"device": "xla"}, "device"), ({"device": "lazy"}, "device"), ({"device": "mkldnn"}, "device"),
     ({"dtype": "float8"}, "dtype")],
)  # fmt: skip
def test_settings_that_are_refused(tmp_path, settings, word):
    path = tmp_path / "tiny.safetensors"
    write_bundle(path, tiny.networks(), tiny.CONFIG)
    with pytest.raises(InputError, match=word) as caught:
        load_engine(path, **settings)
    assert "\n" not in str(caught.value)


def test_devices_and_types():
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_dtype("float16", cpu) == torch.float16
    assert choose_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    assert choose_dtype("auto", torch.device("mps")) == torch.float32
