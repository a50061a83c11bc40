"""Numbers of the official code. What is too large for tests/golden is read from the folder in OMNISYNC_GOLDEN."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from omnisync_core.audio import ArrayWave
from omnisync_core.engines.latentsync import align, ddim, hearing, load_unet, mask
from omnisync_core.models.whisper import build_whisper

HERE = Path(__file__).parents[2] / "golden"
LARGE = os.environ.get("OMNISYNC_GOLDEN")
WITHIN = 1e-4


def small() -> dict[str, torch.Tensor]:
    return {key: value.float() for key, value in load_file(HERE / "ls_unet_small.safetensors").items()}


def below(prefix: str, tensors: dict) -> dict:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def large(name: str) -> dict[str, torch.Tensor]:
    if not LARGE:
        pytest.skip(f"{name} is not part of the repository: set OMNISYNC_GOLDEN to the folder that holds it")
    return load_file(Path(LARGE) / f"{name}.safetensors")


def far(found, expected) -> float:
    return float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max())


def sampled(unet, start, condition, audio, steps, reuse=1):
    """Every state of a guided sampling."""
    schedule, states, deep = ddim.Schedule(steps), [], None
    heard = torch.cat([torch.zeros_like(audio), audio])

    def noise_in(index, x):
        nonlocal deep
        given = torch.cat([x, condition], 1).expand(2, -1, -1, -1, -1)
        kept = deep if index % reuse else None
        out, deep = unet.predict(given, schedule.timesteps[index], heard, kept)
        return out[:1] + 1.5 * (out[1:] - out[:1])

    with torch.inference_mode():
        ddim.sample(noise_in, start, schedule, lambda index, x: states.append(x) or x)
    return torch.stack(states)


def test_the_unet_gives_the_official_noise():
    gold = small()
    unet = load_unet(below("unet.", gold))
    with torch.inference_mode():
        assert far(unet(gold["sample"], 651, gold["audio"]), gold["out"]) < WITHIN


def test_sampling_follows_the_official_states():
    """States grow to 32, so 1e-4 of that; from each official state one step lands on the next within 1e-4."""
    gold = small()
    unet = load_unet(below("unet.", gold))
    start, condition = gold["sample"].split([4, 9], 1)
    assert ddim.Schedule(7).timesteps == tuple(gold["timesteps"].int().tolist())
    found = sampled(unet, start, condition, gold["audio"], 7)
    assert far(found, gold["trace"]) < WITHIN * float(gold["trace"].abs().max())


def test_the_large_unet_gives_the_official_noise_and_features():
    unet, gold, seen = load_unet(large("ls_unet_a")), large("ls_unet_a_io"), {}
    names = [key.removeprefix("act.") for key in gold if key.startswith("act.") and key != "act.up_blocks.3"]
    for name in names:
        unet.get_submodule(name).register_forward_hook(lambda part, given, out, name=name: seen.update({name: out}))
    with torch.inference_mode():
        assert far(unet(gold["sample"], gold["timestep"], gold["audio"]), gold["out"]) < WITHIN
        for name in names:
            clips = seen[name].unflatten(0, (2, -1)).transpose(1, 2) if seen[name].ndim == 4 else seen[name]
            assert far(clips, gold[f"act.{name}"]) < WITHIN, name
        assert far(unet(gold["sample"], 1, gold["audio"]), gold["out_t1"]) < WITHIN
        # 8 x 8 ends in norms of lone numbers, which magnify rounding: the official float32 is 8e-5 from exact.
        assert far(unet(gold["f3.sample"], 501, gold["f3.audio"]), gold["f3.out"]) < WITHIN


@pytest.mark.parametrize(("name", "reuse"), [("ls_ddim_loop", 1), ("ls_ddim_loop_deepcache", 3)])
def test_the_large_unet_follows_the_official_sampling(name, reuse):
    """The official float32 states are up to 8e-4 from exact ones (they grow to 40): 1e-4 of their size is asked."""
    gold, unet = large("ls_ddim_loop"), load_unet(large("ls_unet_a"))
    condition = torch.cat([gold["mask"], gold["masked_image_latents"], gold["ref_latents"]], 1)
    found = sampled(unet, gold["init_latents"], condition, gold["audio"][None], 20, reuse)
    expected = large(name)["latents_per_step"]
    assert far(found, expected) < WITHIN * float(expected.abs().max())


def test_each_step_from_an_official_state_lands_on_the_next():
    gold, unet, schedule = large("ls_ddim_loop"), load_unet(large("ls_unet_a")), ddim.Schedule(20)
    condition = torch.cat([gold["mask"], gold["masked_image_latents"], gold["ref_latents"]], 1)
    heard = torch.stack([torch.zeros_like(gold["audio"]), gold["audio"]])
    states = [gold["init_latents"], *gold["latents_per_step"]]
    for index in range(0, 20, 3):
        given = torch.cat([states[index], condition], 1).expand(2, -1, -1, -1, -1)
        with torch.inference_mode():
            without, hearing_it = unet(given, schedule.timesteps[index], heard).chunk(2)
        found = schedule.step(index, states[index], without + 1.5 * (hearing_it - without))
        assert far(found, states[index + 1]) < WITHIN


def test_noise_levels_and_timesteps():
    gold = np.load(HERE / "ls_schedule.npz")
    assert ddim.Schedule(20).timesteps == tuple(gold["timesteps"].tolist())
    assert far(ddim.alphas_cumprod(), gold["alphas_cumprod"]) == 0


def test_the_published_layout_loads_whole():
    shapes = json.loads((HERE / "ls_unet_full_keys.json").read_text())
    unet = load_unet({key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    assert {key: list(value.shape) for key, value in unet.state_dict().items()} == shapes
    assert (unet.config.audio_dim, unet.config.max_frames, unet.config.in_channels) == (384, 24, 13)


def test_windows_of_states():
    gold = np.load(HERE / "ls_audio_windows.npz")
    for name in {key.split(".")[0] for key in gold}:
        count, fps = (int(part.strip("Nfps")) for part in name.split("_"))
        times = np.arange(len(gold[f"{name}.idx"])) / fps
        indices = hearing.window_indices(hearing.window_centres(times), count)
        assert np.array_equal(indices, gold[f"{name}.idx"])
        numbers = np.stack(np.broadcast_arrays(np.arange(count)[:, None], np.arange(5)), -1)
        assert np.array_equal(hearing.windows(numbers, times), gold[f"{name}.chunks"][..., :2])


def test_the_sound_is_heard_as_officially():
    gold = load_file(HERE / "ls_whisper.safetensors")
    whisper = build_whisper({k: v.float() for k, v in below("whisper.", gold).items()}, "golden", heads=2)
    speech = hearing.LayeredSpeech(whisper, ArrayWave(gold["wav_int16"].numpy().astype(np.float32) / 32768))
    assert speech.count == 1665
    assert far(speech.mel(0, 60), gold["mel_first"]) < WITHIN
    assert far(speech.mel(3290, 3330), gold["mel_last40"]) < WITHIN
    found = speech.at((gold["picked"].numpy() + 0.5) / 50).reshape(-1, 10, 5, 32)[:, hearing.BEFORE]
    assert far(found, gold["features"]) < WITHIN
    assert far(speech.at(np.array([0.0, 833 / 25])), torch.stack([gold["chunk0"], gold["chunk_last"]])) < WITHIN


@pytest.mark.parametrize("resolution", [256, 512])
def test_our_mask_covers_what_theirs_does(resolution):
    gold = np.load(HERE / "ls_masks.npz")
    for found, name in ((mask.kept(resolution), "mask"), (mask.kept_latents(resolution), "latent_mask")):
        ours, theirs = found < 0.5, gold[f"{name}{resolution}"] < 128
        assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.995
    soft = mask.softly_kept(resolution)
    assert soft.min() < 1e-6
    assert (soft[mask.kept(resolution) == 1] == 1).all()
    assert np.abs(np.diff(soft, axis=1)).max() < 30 / resolution


def test_faces_are_aligned_as_officially():
    gold = np.load(HERE / "ls_affine_256.npz")
    assert align.face_size(256) == tuple(gold["face_size_wh"])
    assert align.face_size(512) == (420, 560)
    for points, plain in zip(gold["landmarks3"], gold["M_nosmooth"], strict=True):
        assert far(align.from_points(points, 256), plain) < WITHIN
    for number, face, square in zip((0, 3), gold["faces_u8"], gold["faces_resized_u8"], strict=True):
        found = align.warp(gold["image"], gold["M"][number], align.face_size(256))
        assert far(found.astype(np.uint8), face) <= 1
        assert far(align.squeeze(face, 256), square) == 0


def test_faces_are_put_back_as_officially():
    """The official frame: the face's whole rectangle, faded at its edge. Only the way back is ours."""
    gold = np.load(HERE / "ls_affine_256.npz")
    face_CSS = F.interpolate(torch.from_numpy(gold["gen_face_seed1_8x8"]), 256, mode="bilinear")[0]
    placed = align.restore(face_CSS.permute(1, 2, 0).numpy(), gold["M"][0], (640, 360))
    inside = align.restore(np.ones((256, 256, 1)), gold["M"][0], (640, 360), fill=0)[..., 0]
    inside = cv2.erode(inside, np.ones((2, 2)), borderValue=9)
    edge = int(inside.sum() ** 0.5) // 20
    soft = cv2.erode(inside, np.ones((2 * edge, 2 * edge)))
    soft = cv2.GaussianBlur(soft, (2 * edge + 1,) * 2, 0.3 * (edge - 1) + 0.8)[..., None]
    pasted = inside[..., None] * (placed / 2 + 0.5).clip(0, 1) * 255
    found = soft * pasted + (1 - soft) * gold["image"]
    assert far(found.astype(np.uint8), gold["restored_u8"]) <= 1
