"""Encoders of other makes: published Whispers in both namings, and a T5 of the host."""

import pytest
import torch

SIZE = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 1, "encoder_ffn_dim": 128, "num_mel_bins": 80,
        "max_source_positions": 1500}  # fmt: skip
"""As small as a published Whisper could be: one head of 64, windows of 30 s."""


@pytest.fixture
def whisper(host):
    """A random Whisper in models/audio_encoders as transformers names it; yields its name and the network."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = host.module("omnisync_core.models.whisper").WhisperEncoder(SIZE).eval()
    folder = host.base / "models" / "audio_encoders"
    folder.mkdir(exist_ok=True)
    save_file({f"model.{key}": value for key, value in network.state_dict().items()}, folder / "tiny.safetensors")
    yield "tiny.safetensors", network
    (folder / "tiny.safetensors").unlink()


def test_a_published_whisper_as_the_host_s_audio_encoder(host, parts, whisper):
    host.load("nodes_audio_encoder.py")
    node, (name, network) = parts.node, whisper
    outputs = host.run({
        "given": parts()["given"],
        "encoder": node("OmniSyncLoadWhisper", audio_encoder_name=name),
        "ours": node("OmniSyncEncodeAudioWhisper", audio_encoder=["encoder", 0], audio=["given", 1], fps=25.0,
                     frame_count=9, strength=1.0, offset_ms=0.0),
        "theirs": node("AudioEncoderEncode", audio_encoder=["encoder", 0], audio=["given", 1]),
    })  # fmt: skip
    ours, theirs = outputs["ours"][0], outputs["theirs"][0]
    assert ours["omnisync_speech"].shape == (1, 9, 4, 64)
    for output in (ours, theirs):
        assert len(output["encoded_audio_all_layers"]) == 3
        assert output["audio_samples"] == 32000
        assert output["encoded_audio"].shape == (1, 1500, 64)
    audio, wave = host.module("omnisync_core.audio"), host.module("nodes.types").mono_wave(parts.sound)
    with torch.no_grad():
        expected = network(torch.from_numpy(audio.log_mel(wave.read(0, 30)))[None])
    torch.testing.assert_close(theirs["encoded_audio"], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours["encoded_audio"], theirs["encoded_audio"])


def test_a_file_that_is_no_whisper(host, parts, whisper):
    from safetensors.torch import save_file

    folder = host.base / "models" / "audio_encoders"
    save_file({"encoder.layer_norm.bias": torch.zeros(768)}, folder / "w2v.safetensors")
    with pytest.raises(Exception, match="no Whisper"):
        host.run({"encoder": parts.node("OmniSyncLoadWhisper", audio_encoder_name="w2v.safetensors")})


class WideClip:
    """Stands for a T5 of the host: other tokens, other width, a pooled output."""

    def tokenize(self, text):
        return {"t5xxl": [[(ord(letter), 1.0) for letter in text]]}

    def encode_from_tokens_scheduled(self, tokens):
        return [[torch.ones(1, len(tokens["t5xxl"][0]), 4096), {"pooled_output": torch.ones(1, 8)}]]


def test_the_host_s_t5_in_the_place_of_ours(host, parts):
    node = parts.node
    prompt = {**parts(), "t5": host.give(WideClip())}
    kept = {name: prompt[name] for name in ("given", "model", "speech", "t5")}
    kept["prompt"] = node("OmniSyncEncodePromptT5", clip=["t5", 0], audio_encoder_output=["speech", 0], text="words")
    positive, negative = host.run(kept)["prompt"]
    assert positive[0][0].shape == negative[0][0].shape == (1, 5, 4096)
    assert positive[0][1]["pooled_output"].all()
    assert not negative[0][1]["pooled_output"].any()
    assert positive[0][1]["omnisync_speech"].shape == (1, 9, 4, 128)
