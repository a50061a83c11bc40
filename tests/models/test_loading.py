"""Published encoders from folders as transformers writes them."""

import pytest
import torch
from transformers import ByT5Tokenizer, T5Config, T5EncoderModel, WhisperConfig, WhisperModel

from omnisync_core.errors import CheckpointError
from omnisync_core.models.text import load_text
from omnisync_core.models.whisper import load_whisper


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    config = WhisperConfig(
        d_model=128, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=128, max_source_positions=40, vocab_size=60,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    model = WhisperModel(config).eval()
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    return model, folder


@pytest.mark.parametrize("as_file", [False, True])
def test_whisper_folder_and_file_give_the_same_states(whisper, as_file):
    model, folder = whisper
    encoder = load_whisper(folder / "model.safetensors" if as_file else folder)
    mel = torch.randn(1, 128, 80)
    with torch.no_grad():
        expected = model.encoder(mel).last_hidden_state
        torch.testing.assert_close(encoder(mel), expected, atol=1e-5, rtol=1e-5)


def test_what_is_no_whisper_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no Whisper"):
        load_whisper(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        load_whisper(tmp_path)


def test_text_folder_gives_transformers_states(tmp_path):
    config = T5Config(vocab_size=384, d_model=48, d_kv=16, d_ff=64, num_layers=2, num_heads=3, dropout_rate=0.0)
    model = T5EncoderModel(config).eval()
    model.save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    encoder = load_text(tmp_path)
    ids = ByT5Tokenizer()("A cat speaks.", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[0]
        found = encoder.encode(["A cat speaks."])[0, : ids.shape[1]]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert encoder.width == 48


def test_what_is_no_text_encoder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no text encoder"):
        load_text(tmp_path)
