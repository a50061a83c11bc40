"""Numbers of the official code; all but the layout are read from the folder in OMNISYNC_GOLDEN."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from omnisync_core.engines.xdub import audio_windows, load_dit, sample, sampling
from omnisync_core.engines.xdub.hearing import WavStates
from tests.engines.xdub import small

HERE = Path(__file__).parents[2] / "golden"
LARGE = os.environ.get("OMNISYNC_GOLDEN")
WITHIN = 1e-4
"""Of the output's RMS."""


def large(name: str) -> tuple[dict[str, torch.Tensor], dict]:
    """The tensors of a file and its metadata."""
    if not LARGE:
        pytest.skip(f"{name} is not part of the repository: set OMNISYNC_GOLDEN to the folder that holds it")
    with safe_open(Path(LARGE) / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        return tensors, {key: json.loads(value) for key, value in file.metadata().items()}


def far(found, expected) -> float:
    """The largest difference, in RMS of what is expected."""
    return float((found - expected).abs().max() / expected.square().mean().sqrt())


@pytest.fixture(scope="module")
def network():
    tensors, _ = large("xd_dit")
    weights = {key: value for key, value in tensors.items() if not key.startswith(("in.", "out.", "act."))}
    return load_dit(weights, heads=2, audio_heads=2)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_the_network_gives_the_official_velocity(network, case):
    gold, described = large("xd_dit")
    names = ("latents", "timestep", "ref_latents", "context", "audio_feats")
    given = {name: gold[f"in.{case}.{name}"] for name in names}
    motion = described["cases"][case]["motion_frames"]
    with torch.inference_mode():
        found = network(given.pop("latents"), given.pop("timestep"), **given, motion_frames=motion)
    assert far(found, gold[f"out.{case}"]) < WITHIN


def test_every_part_gives_the_official_features(network):
    gold, _ = large("xd_dit")
    seen = {}
    for name in ("block0", "block1", "block2", "block0.self_attn", "block0.cross_attn", "block0.audio_attn"):
        part = network.get_submodule(name.replace("block", "blocks."))
        part.register_forward_hook(lambda part, given, out, name=name: seen.update({name: out}))
    for name, path in {"audio": "audio_embedding", "patches": "patch_embedding", "text": "text_embedding"}.items():
        part = network.get_submodule(path)
        part.register_forward_hook(lambda part, given, out, name=name: seen.update({name: out}))
    with torch.inference_mode():
        network(
            gold["in.a.latents"], gold["in.a.timestep"], ref_latents=gold["in.a.ref_latents"],
            context=gold["in.a.context"], audio_feats=gold["in.a.audio_feats"],
        )  # fmt: skip
    wrong = {name: far(out, gold[f"act.a.{name}"]) for name, out in seen.items()}
    assert len(wrong) == 9, wrong
    assert max(wrong.values()) < WITHIN, wrong


@pytest.mark.parametrize("run", ["first", "next", "plain"])
def test_sampling_follows_the_official_states(network, run):
    gold, described = large("xd_sampler")
    settings, motion = described["runs"][run], gold.get(f"{run}.motion_latents")
    noise, ref, audio = (gold[f"{run}.{name}"] for name in ("noise", "ref_latents", "audio_feats"))
    asked = []

    def velocity(latents, sigma, branches):
        asked.append(latents)
        return network(
            latents.expand(len(branches), -1, -1, -1, -1), torch.full((len(branches),), 1000 * sigma),
            ref_latents=torch.cat([torch.zeros_like(ref) if name == "none" else ref for name in branches]),
            context=gold["context"].expand(len(branches), -1, -1),
            audio_feats=torch.cat([audio if name == "full" else torch.zeros_like(audio) for name in branches]),
            motion_frames=0 if motion is None else motion.shape[2],
        )  # fmt: skip

    before = [value.clone() for value in (noise, ref)]
    with torch.inference_mode():
        found = sample(
            velocity, noise, ref, gold[f"{run}.sigmas"], motion_latents=motion, dynamic=settings["dynamic"],
            ref_cfg_scale=settings["ref_cfg_scale"], audio_cfg_scale=settings["audio_cfg_scale"],
            border=settings["border"],
        )  # fmt: skip
    assert far(found, gold[f"{run}.out"]) < WITHIN
    kept = [gold[key] for key in sorted(gold) if key.startswith(f"{run}.step") and key.endswith("model_in")]
    assert len(asked) == settings["steps"]
    assert all(far(latents, expected) < WITHIN for latents, expected in zip(asked, kept, strict=False))
    assert all(torch.equal(value, was) for value, was in zip((noise, ref), before, strict=True))


def test_the_weights_of_the_branches():
    gold, _ = large("xd_sampler")
    levels = gold["guidance.t"].tolist()
    reference = torch.tensor([sampling.reference_weight(level, 2.5) for level in levels])
    audio = torch.tensor([sampling.audio_weight(level, 10.0) for level in levels])
    assert far(reference, gold["guidance.ref_2.5"]) < WITHIN
    assert far(audio, gold["guidance.audio_10"]) < WITHIN


@pytest.mark.parametrize("steps", [25, 30, 50])
def test_the_noise_levels(steps):
    gold, _ = large("xd_sampler")
    assert far(sampling.sigmas(steps), gold[f"schedule{steps}.sigmas"]) < 1e-6


def test_windows_of_features():
    gold, described = large("xd_audio")
    cases = {name: case for name, case in described["cases"].items() if name != "segments"}
    for name, case in cases.items():
        states = gold[f"{name}.whisper"][:, -1], gold[f"{name}.wav2vec"][:, -1]
        found = audio_windows(*states, case["start"], 1 + (case["frames"] - 1) // 4)
        assert torch.equal(found, gold[f"{name}.windows"]), name
    assert len(cases) == 5


def test_wav2vec2_is_given_the_normalised_wave():
    gold, _ = large("xd_audio")
    given = []
    states = WavStates(lambda wave_S: given.append(wave_S) or np.zeros((12, 1)), small.wave(gold["normalise.wave"]))
    states.states(np.array([0]))
    assert far(torch.from_numpy(given[0]), gold["normalise.values"]) < 1e-5


def test_the_published_layout_loads_whole():
    shapes = json.loads((HERE / "xd_full_keys.json").read_text())
    network = load_dit({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes
    config = network.config
    assert (config.heads, config.audio_heads, config.depth, config.audio_dim) == (24, 24, 30, 2048)
