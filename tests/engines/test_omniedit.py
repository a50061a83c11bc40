"""OmniEdit against numbers of the official code (tests/golden/oe_*), its invariants, and FlowEdit."""

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from omnisync_core.engines.humo_audio import HuMoSpeech, at_rate, group, humo_audio, humo_windows
from omnisync_core.engines.omniedit import edit, edit_joint, humo_sigmas, ltx_sigmas, rescale
from omnisync_core.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"
SIGMAS = humo_sigmas()
HUMO = ("oe_humo_1p7b", "oe_humo_17b")
RUNS = {"default": (6, 16, 4.5), "nocfg": (6, 16, 1.0)}
JOINT_RUNS = {"default": (12, 40, 10.0), "nocfg": (12, 40, 1.0)}


def golden(name):
    return load_file(GOLDEN / f"{name}.safetensors")


def humo_velocity(data, counted=None):
    """The stand-in network of the golden files, as `velocities`."""
    audio = {"source": data["src_audio"], "target": data["tar_audio"]}

    def one(z, sigma, branch):
        z = torch.cat([z, data["ref_latents"]], 1)
        inner = torch.cat([z, data["y"]]) if data["w.conv1.weight"].shape[1] == 36 else z
        heard = F.linear(audio[branch].flatten(2), data["w.aud.weight"], data["w.aud.bias"])[0].T[:, :, None, None]
        read = F.linear(data["context"].mean(0), data["w.txt.weight"], data["w.txt.bias"])[:, None, None, None]
        h = F.conv3d(inner[None], data["w.conv1.weight"], data["w.conv1.bias"], padding=1)[0] + heard + read
        h = torch.tanh(h + 0.5 * torch.sin(3 * sigma))
        return (F.conv3d(h[None], data["w.conv2.weight"], data["w.conv2.bias"], padding=1)[0] - 0.5 * z)[:, :-1]

    def velocities(latents, sigma, branches):
        assert len(latents) == len(branches)
        assert sigma.ndim == 0
        if counted is not None:
            counted.append((float(sigma), tuple(branches)))
        return torch.stack([one(z, sigma, branch) for z, branch in zip(latents, branches, strict=True)])

    return velocities


def joint_velocity(data, counted=None):
    """The stand-in joint network; its first evaluation reads the wrong text, as the official code does."""
    seen = [] if counted is None else counted

    def linear(name, x):
        return F.linear(x, data[f"w.{name}.weight"], data[f"w.{name}.bias"])

    def one(video, audio, sigma, branch, first):
        end = "src" if branch == "source" else "tar"
        video_text = data[f"v_context_{end}"].mean(1)
        audio_text = video_text if first else data[f"a_context_{end}"].mean(1)
        hv = linear("v1", video) + linear("cv", video_text)[:, None] + torch.sin(3 * sigma)
        ha = linear("a1", audio) + linear("ca", audio_text)[:, None] + torch.sin(3 * sigma)
        mixed_v = torch.tanh(hv + 0.3 * linear("x", ha.mean(1, keepdim=True)))
        mixed_a = torch.tanh(ha + 0.3 * linear("x", hv.mean(1, keepdim=True)))
        return linear("v2", mixed_v) - 0.5 * video, linear("a2", mixed_a) - 0.5 * audio

    def velocities(latents, sigma, branches):
        first = not seen
        seen.append((float(sigma), tuple(branches)))
        pairs = [one(v, a, sigma, name, first) for v, a, name in zip(*latents, branches, strict=True)]
        return tuple(torch.stack(side) for side in zip(*pairs, strict=True))

    return velocities


def seeded(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(shape, generator=generator)


def listed(draws):
    left = iter(draws)
    return lambda shape: next(left).reshape(shape)


def run(data, *, start=6, end=16, cfg=4.5, noise="estimated", draw=None, counted=None, **rest):
    velocities = humo_velocity(data, counted)
    draw = draw or seeded(42)
    return edit(velocities, data["X0_src"], SIGMAS, start=start, end=end, cfg=cfg, noise=noise, draw=draw, **rest)


@pytest.mark.parametrize("name", HUMO)
@pytest.mark.parametrize("case", RUNS)
def test_algorithm_1_equals_the_official_run(name, case):
    data, counted, states = golden(name), [], []
    start, end, cfg = RUNS[case]
    draw = listed(data["default.randn"]) if case == "default" else None

    def remember(done, latent, sigma, noise):
        states.append(latent)
        return latent

    out = run(data, start=start, end=end, cfg=cfg, draw=draw, counted=counted, on_step=remember)
    torch.testing.assert_close(out, data[f"{case}.out"], atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack(states[:-1]), data[f"{case}.z_tar_per_step"], atol=1e-4, rtol=0)
    assert torch.equal(states[-1], out)
    assert sum(len(branches) for _, branches in counted) == int(data[f"{case}.n_calls"])


@pytest.mark.parametrize("case", JOINT_RUNS)
def test_algorithm_2_equals_the_official_run(case):
    data, counted, states = golden("oe_ltx"), [], []
    start, end, cfg = JOINT_RUNS[case]
    draws = itertools.chain(*zip(data[f"{case}.randn_video"], data[f"{case}.randn_audio"], strict=True))

    def remember(done, latents, sigma, noises):
        states.append(latents)
        return latents

    out = edit_joint(
        joint_velocity(data, counted), (data["v_src"], data["a_src"]), data["sigmas"][:-1],
        start=start, end=end, cfg=cfg, draw=listed(draws), on_step=remember,
    )  # fmt: skip
    for index, stream in enumerate(("video", "audio")):
        torch.testing.assert_close(out[index], data[f"{case}.{stream}_out"], atol=1e-4, rtol=0)
        before = torch.cat([state[index] for state in states[:-1]])
        torch.testing.assert_close(before, data[f"{case}.{stream}_per_step"], atol=1e-4, rtol=0)
    assert sum(len(branches) for _, branches in counted) == int(data[f"{case}.n_calls"])


@pytest.mark.parametrize(("noise", "case"), [("deterministic", "deterministic"), ("random", "random")])
def test_other_noises_equal_their_reference(noise, case):
    modes, data = golden("oe_modes"), golden("oe_humo_1p7b")
    out = run(data, noise=noise, draw=listed(modes["draws"]))
    torch.testing.assert_close(out, modes[f"{case}.out"], atol=1e-4, rtol=0)


def test_the_estimated_noises_equal_the_reference():
    modes, noises = golden("oe_modes"), []
    out = run(golden("oe_humo_1p7b"), on_step=lambda done, z, sigma, e: (noises.append(e), z)[1])
    torch.testing.assert_close(out, modes["ours.out"], atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack(noises[:12]), modes["ours.noises"], atol=1e-4, rtol=0)


def test_random_noise_is_flowedit():
    """The edit sequence of FlowEdit, written out, with the same draws."""
    data = golden("oe_humo_1p7b")
    velocity, x0, draw = humo_velocity(data), data["X0_src"], seeded(3)
    ze, levels = x0.clone(), [*SIGMAS, torch.tensor(0.0)]
    for s, ahead in itertools.pairwise(levels[6:18]):
        zs = (1 - s) * x0 + s * draw(x0.shape)
        zt = ze + zs - x0
        target, source, plain = velocity(torch.stack([zt, zt, zs]), s, ("target", "source", "source"))
        ze = ze + (ahead - s) * (source + 4.5 * (target - source) - plain)
    zt = ze + (1 - levels[17]) * x0 + levels[17] * draw(x0.shape) - x0
    for s, ahead in itertools.pairwise(levels[17:]):
        target, source = velocity(torch.stack([zt, zt]), s, ("target", "source"))
        zt = zt + (ahead - s) * (source + 4.5 * (target - source))
    torch.testing.assert_close(run(data, noise="random", draw=seeded(3)), zt, atol=1e-4, rtol=0)


@pytest.mark.parametrize("noise", ["estimated", "deterministic", "random"])
@pytest.mark.parametrize(("start", "cfg"), [(0, 4.5), (6, 4.5), (6, 1.0), (19, 4.5)])
def test_the_same_sound_gives_the_source_back(noise, start, cfg):
    data = golden("oe_humo_17b")
    data["tar_audio"] = data["src_audio"]
    out = run(data, noise=noise, start=start, end=19 + start, cfg=cfg)
    torch.testing.assert_close(out, data["X0_src"], atol=1e-5, rtol=0)


def test_the_same_text_gives_video_and_sound_back():
    data = golden("oe_ltx")
    for stream in "va":
        data[f"{stream}_context_tar"] = data[f"{stream}_context_src"]
    source = data["v_src"], data["a_src"]
    out = edit_joint(joint_velocity(data), source, ltx_sigmas(), start=12, end=40, cfg=10, draw=seeded(1))
    for stream, given in zip(out, source, strict=True):
        torch.testing.assert_close(stream, given, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("start", "end", "cfg", "evaluations"),
    [(6, 16, 4.5, 40), (6, 16, 1.0, 26), (0, 19, 4.5, 61), (10, 10, 4.5, 22), (7, 3, 2.0, 27), (19, 99, 1.0, 3)],
)
def test_branches_that_share_a_level_are_one_call(start, end, cfg, evaluations):
    counted = []
    run(golden("oe_humo_1p7b"), start=start, end=end, cfg=cfg, counted=counted)
    assert sum(len(branches) for _, branches in counted) == evaluations
    assert counted[0] == (pytest.approx(float(SIGMAS[-1])), ("source",))
    assert [sigma for sigma, _ in counted[1:]] == pytest.approx(SIGMAS[start:].tolist())


def test_nothing_is_left_to_do_after_the_last_step():
    data, counted = golden("oe_humo_1p7b"), []
    assert torch.equal(run(data, start=20, counted=counted), data["X0_src"])
    assert not counted


def test_a_weight_per_position_and_none():
    data, everywhere = golden("oe_humo_1p7b"), torch.full((3, 6, 8), 4.5)
    plain = run(data)
    assert torch.equal(run(data, cfg=lambda sigma: everywhere), plain)
    assert torch.equal(run(data, cfg=lambda sigma: None), run(data, cfg=1.0))
    left = everywhere.clone()
    left[..., :4] = 1
    assert not torch.allclose(run(data, cfg=lambda sigma: left), plain)


def test_a_silent_source_starts_both_sounds_from_the_same_noise():
    data, starts = golden("oe_ltx"), []
    silence = torch.zeros_like(data["a_src"])
    tell = lambda done, latents, sigma, noises: (starts.append((latents, noises)), latents)[1]  # noqa: E731
    for end in ("src", "tar"):
        same = {**data, "v_context_tar": data[f"v_context_{end}"], "a_context_tar": data[f"a_context_{end}"]}
        video, audio = edit_joint(
            joint_velocity(same), (data["v_src"], silence), ltx_sigmas(8),
            start=2, end=8, cfg=4, draw=seeded(5), on_step=tell, silent_source=True,
        )  # fmt: skip
        latents, noises = starts[-7]
        assert torch.equal(latents[1], seeded(5)(silence.shape))
        assert torch.equal(noises[1], latents[1])
        assert torch.allclose(video, data["v_src"], atol=1e-5) == (end == "src")
        assert audio.abs().mean() > 0.1


def test_the_state_keeps_the_source_type():
    data = {name: value.bfloat16() for name, value in golden("oe_ltx").items()}
    out = edit_joint(
        lambda latents, sigma, branches: tuple(z.float() * 0.1 for z in latents), (data["v_src"], data["a_src"]),
        ltx_sigmas(), start=30, end=35, cfg=10, draw=seeded(1),
    )  # fmt: skip
    assert [stream.dtype for stream in out] == [torch.bfloat16] * 2


def test_schedules_equal_the_official_ones():
    assert torch.equal(SIGMAS, golden("oe_humo_1p7b")["sigmas"])
    torch.testing.assert_close(ltx_sigmas(), golden("oe_ltx")["sigmas"][:-1], atol=1e-6, rtol=0)
    assert ltx_sigmas(1).tolist() == [1]
    assert ltx_sigmas(30)[-1] == pytest.approx(0.1)


def test_refusals():
    data = golden("oe_humo_1p7b")
    for wrong in ({"start": 21}, {"start": -1}, {"noise": "pink"}, {"cfg": float("nan")}):
        with pytest.raises(InputError):
            run(data, **wrong)
    for sigmas in ([1.0, 0.5, 0.0], [0.5, 0.7], []):
        with pytest.raises(InputError):
            edit(humo_velocity(data), data["X0_src"], sigmas, start=0, end=1, cfg=1, draw=seeded(1))
    with pytest.raises(InputError, match="steps"):
        humo_sigmas(0)


def fake_whisper(samples):
    """States of 33 layers (T, 33, 4) for a sound; 30 s at a time, as the golden file's."""
    parts = []
    for segment in range(-(-samples // 480000)):
        generator = torch.Generator().manual_seed(100 + segment)
        parts.append(torch.stack([torch.randn(1, 1500, 4, generator=generator) for _ in range(33)], 2)[0])
    return torch.cat(parts)


@pytest.mark.parametrize(("fps", "seconds"), [(25, 3.88), (24, 97 / 24), (30, 97 / 30), (25, 2.0)])
def test_humo_hears_exactly_what_the_official_code_gives_it(fps, seconds):
    samples = int(seconds * 16000)
    expected = golden("oe_audio_windows")[f"fps{fps}_f97_{seconds:.3f}s"][0]
    torch.testing.assert_close(humo_audio(group(fake_whisper(samples)), samples, fps, 97), expected, atol=1e-6, rtol=0)


def test_window_places():
    probe = golden("oe_audio_windows")["window_index_probe"]
    index = torch.arange(1.0, 100)[:, None, None]
    assert torch.equal(humo_windows(index, 97)[..., 0, 0], probe)
    index = index[:97]
    padded = torch.cat([torch.tensor([-1.0, 0.0])[:, None, None], index, torch.tensor([98.0, 99.0])[:, None, None]])
    with_context = humo_windows(padded, 97, before=2)[..., 0, 0]
    assert with_context[0].tolist() == [0, 0, 0, -1, 0, 1, 2, 3]
    assert with_context[-1].tolist()[-2:] == [98, 99]
    with pytest.raises(InputError, match="1 \\+ 4k"):
        humo_windows(index, 96)
    with pytest.raises(InputError, match="large-v3"):
        group(torch.zeros(10, 5, 4))
    assert at_rate(torch.zeros(1, 5, 4), 25).shape == (0, 5, 4)


class Ramp:
    """A sound of 70 s whose `encode` says the time of each state."""

    duration = 70.0

    def read(self, start, stop):
        return torch.tensor([start]).numpy()


def test_speech_by_time_has_no_seam_and_is_silent_outside():
    def encode(wave):
        return (wave[0] + torch.arange(1500) / 50)[:, None, None].expand(1500, 5, 2).numpy()

    speech = HuMoSpeech(encode, Ramp(), width=2)
    for start in (0.0, 19.0, 28.5, 59.9, 69.5):
        times = start + torch.arange(25).numpy() / 30
        heard = speech.at(times)
        asked = torch.cat([torch.tensor([-2, -1]), torch.arange(27)]).double() / 30 + start
        expected = torch.where((asked >= 0) & (asked < 70), asked, 0.0)
        torch.testing.assert_close(torch.as_tensor(heard[:, 3, 1]).double(), expected, atol=2e-5, rtol=0)
    assert speech.at(torch.tensor([1.0]).numpy()).shape == (5, 5, 2)


def test_rescaled_noise_has_the_norm_of_noise():
    assert rescale(torch.randn(7, 3) * 9).norm() == pytest.approx(21**0.5)
