"""What cannot be used is named in the node's own words, never by a crash in the middle."""

import shutil

import pytest
import torch


@pytest.fixture
def fails(host):
    def fails(prompt: dict, words: str):
        with pytest.raises(Exception, match=words):
            host.run(prompt)

    return fails


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (None, "no sound"),
        ({"waveform": torch.zeros(1, 1, 0), "sample_rate": 16000}, "empty"),
        ({"waveform": torch.zeros(1, 1, 9), "sample_rate": 0}, "sample rate"),
        ({"waveform": torch.full((1, 1, 99), float("nan")), "sample_rate": 16000}, "NaN"),
        ("a sound", "must be AUDIO"),
    ],
)
def test_sounds(host, parts, fails, audio, words):
    fails(parts(given=host.give(parts.pictures, audio, parts.track)), words)


class LazyMap(dict):
    """As VideoHelperSuite gives its sound: a mapping that loads when asked."""

    def __init__(self, sound):
        super().__init__()
        self.sound = sound

    def __contains__(self, key):
        return key in self.sound

    def __getitem__(self, key):
        return self.sound[key]


@pytest.mark.parametrize("shape", [(1, 1, 32000), (1, 6, 32000), (2, 2, 32000), (2, 32000), (32000,)])
def test_sounds_of_any_shape(host, shape):
    wave = host.module("nodes.types").mono_wave(LazyMap({"waveform": torch.zeros(shape), "sample_rate": 32000}))
    assert wave.duration == 1


def test_numbers_that_are_none(host, parts, fails):
    nan = float("nan")
    fails(parts(speech={"fps": nan}), "fps")
    fails(parts(speech={"strength": nan}), "strength")
    fails(parts(noise={"tau": nan}), "tau")
    fails(parts(sampled={"w_peak": nan}), "w_peak")
    fails(parts(decoded={"fps": nan}), "fps")


def test_numbers_out_of_bounds_are_refused_before_anything_runs(host, parts, fails):
    for node, name, value in (("speech", "fps", 0.0), ("noise", "steps", -1), ("sampled", "sigma_g", 0.0)):
        fails(parts(**{node: {name: value}}), f"(?s)(validation|smaller).*{name}")


def test_speech_of_another_length(parts, fails):
    fails(parts(speech={"frame_count": 17}), "speech covers 17 frames, the latents 9")


def test_latents_of_another_kind(host, parts, fails):
    latent = {"samples": torch.ones(1, 4, 12, 12)}
    fails(parts(noise={"latent": ["other", 0]}, other=host.give(latent)), "works on video latents")


def test_pictures_of_an_odd_latent_size_and_of_one_pixel(host, parts, fails):
    for size, words in ((24, "multiple of 16"), (1, "at least 8 x 8")):
        pictures = parts.pictures[:, :size, :size]
        fails(parts(given=host.give(pictures, parts.sound, parts.track)), words)


def test_numbers_that_are_none_in_pictures_and_latents(host, parts, fails):
    pictures = parts.pictures.clone()
    pictures[4, 0, 0, 0] = float("nan")
    fails(parts(given=host.give(pictures, parts.sound, parts.track)), "pictures hold NaN")
    latent = {"samples": torch.full((1, 16, 3, 4, 4), float("inf"))}
    fails(parts(decoded={"samples": ["other", 0]}, other=host.give(latent)), "latents hold NaN")


def test_another_picture_s_alpha_is_dropped(host, parts):
    pictures = torch.cat([parts.pictures, torch.ones(9, 96, 96, 1)], -1)
    outputs = host.run(parts(given=host.give(pictures, parts.sound, parts.track)))
    assert torch.equal(outputs["decoded"][1], host.run(parts())["decoded"][1])


def test_one_frame(host, parts):
    outputs = host.run(parts(given=host.give(parts.pictures[:1], parts.sound, parts.track), speech={"frame_count": 1}))
    assert outputs["decoded"][1].shape == (1, 96, 96, 3)


def test_conditioning_of_other_nodes(host, parts, fails):
    plain = parts.node("CLIPTextEncode", clip=["model", 2], text="words")
    fails(parts(sampled={"positive": ["plain", 0]}, plain=plain), "holds no speech")
    wide = [[torch.zeros(1, 8, 4096), {"omnisync_speech": torch.zeros(1, 9, 4, 128)}]]
    fails(parts(sampled={"positive": ["other", 0]}, other=host.give(wide)), "width 64")


def test_an_audio_encoding_of_the_host(host, parts, fails):
    output = {"encoded_audio": torch.zeros(1, 9, 4)}
    fails(parts(prompt={"audio_encoder_output": ["other", 0]}, other=host.give(output)), "Encode Audio Whisper")


def test_models_that_are_none(host, parts, fails):
    fails(parts(model={"model_name": "../../secret.safetensors"}), "not in list")
    with pytest.raises(ValueError, match="no model"):
        host.module("nodes.host.folders").bundle_path("../../secret.safetensors")
    folder = host.base / "models" / "omnisync"
    folder.mkdir(exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"not a model")
    try:
        fails(parts(model={"model_name": "broken.safetensors"}), "damaged or no safetensors")
    finally:
        (folder / "broken.safetensors").unlink()


def test_the_weights_of_a_watermark_lie_in_one_folder_of_models(host, tmp_path, monkeypatch):
    monkeypatch.delenv("OMNISYNC_WATERMARK", raising=False)
    folders = host.module("nodes.host.folders")
    assert folders.watermark_weights() is None
    folder = folders.folder_of("omnisync_watermark")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / "a.pth").touch()
        assert folders.watermark_weights() == str(folder / "a.pth")
        (folder / "b.safetensors").touch()
        with pytest.raises(ValueError, match=r"omnisync_watermark has 2 files \(a\.pth, b\.safetensors\): leave one"):
            folders.watermark_weights()
        monkeypatch.setenv("OMNISYNC_WATERMARK", str(tmp_path / "c.pth"))
        assert folders.watermark_weights() == str(tmp_path / "c.pth")
    finally:
        shutil.rmtree(folder)


def test_pictures_are_checked(host):
    rgb_frames = host.module("nodes.types").rgb_frames
    assert rgb_frames(torch.zeros(2, 4, 4, 1)).shape == rgb_frames(torch.zeros(2, 4, 4, 4)).shape == (2, 4, 4, 3)
    for pictures, words in (
        (torch.zeros(0, 4, 4, 3), "at least one"),
        (torch.zeros(4, 4, 3), "at least one"),
        (torch.zeros(1, 4, 4, 2), "channels"),
        (torch.full((1, 4, 4, 3), float("nan")), "frame 0 holds NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            rgb_frames(pictures)
