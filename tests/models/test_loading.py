"""Published encoders from folders as transformers writes them."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    WhisperConfig,
    WhisperModel,
)

from omnisync_core.checkpoint import write_bundle
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.errors import CheckpointError
from omnisync_core.models.published import read_content
from omnisync_core.models.text import load_text
from omnisync_core.models.whisper import load_whisper
from tests import tiny


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


OPENAI = {
    "conv1.weight": "conv1.weight", "conv1.bias": "conv1.bias", "conv2.weight": "conv2.weight",
    "conv2.bias": "conv2.bias", "embed_positions.weight": "positional_embedding", "layer_norm.weight": "ln_post.weight",
    "layer_norm.bias": "ln_post.bias", "self_attn.q_proj": "attn.query", "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value", "self_attn.out_proj": "attn.out", "self_attn_layer_norm": "attn_ln",
    "fc1": "mlp.0", "fc2": "mlp.2", "final_layer_norm": "mlp_ln",
}  # fmt: skip


def as_openai(key: str) -> str:
    """A key of transformers' encoder as openai/whisper's own checkpoints call it."""
    if not key.startswith("layers."):
        return f"encoder.{OPENAI[key]}"
    _, index, rest = key.split(".", 2)
    module, _, kind = rest.rpartition(".")
    return f"encoder.blocks.{index}.{OPENAI[module]}.{kind}"


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_openai_s_names_give_the_same_states(whisper, tmp_path, kind):
    model, _ = whisper
    tensors = {as_openai(key): value.to(kind).clone() for key, value in model.encoder.state_dict().items()}
    tensors["decoder.blocks.0.cross_attn.query.weight"] = torch.zeros(3, 3)
    save_file(tensors, tmp_path / "tiny.safetensors")
    encoder = load_whisper(tmp_path / "tiny.safetensors")
    mel = torch.randn(1, 128, 80)
    with torch.no_grad():
        expected = model.encoder(mel).last_hidden_state
    atol = 1e-5 if kind == torch.float32 else 2e-2
    torch.testing.assert_close(encoder(mel), expected, atol=atol, rtol=atol)


def test_every_layer(whisper):
    model, folder = whisper
    encoder, mel = load_whisper(folder), torch.randn(1, 128, 80)
    with torch.no_grad():
        layers = encoder.layers(mel)
        torch.testing.assert_close(layers[-1], encoder(mel))
        expected = model.encoder(mel, output_hidden_states=True).hidden_states
    assert len(layers) == 3
    for found, wanted in zip(layers, expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_what_is_no_whisper_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no Whisper"):
        load_whisper(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        load_whisper(tmp_path)
    save_file({"encoder.layers.0.weight": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no Whisper"):
        load_whisper(tmp_path)
    for width, layer in ((32, "0"), (65, "0"), (64, "0"), (64, "999999999"), (64, "many")):
        tensors = {
            "encoder.conv1.weight": torch.zeros(width, 80, 3), f"encoder.layers.{layer}.fc1.bias": torch.zeros(8),
            "encoder.layers.0.fc1.weight": torch.zeros(8, width), "encoder.embed_positions.weight": torch.zeros(9, 7),
        }  # fmt: skip
        save_file(tensors, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointError, match="no Whisper") as caught:
            load_whisper(tmp_path)
        assert str(caught.value).isprintable()


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


@pytest.fixture
def t5(tmp_path):
    """A tiny T5 with a tokenizer of words, from its folder."""
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, "A": 3, "cat": 4, "speaks": 5, ".": 6}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    config = T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0)
    T5EncoderModel(config).save_pretrained(tmp_path)
    return load_text(tmp_path)


def test_a_bundle_with_a_t5_brings_its_tokenizer(t5, tmp_path):
    assert t5.tokenize("A cat speaks loudly.") == [3, 4, 5, 2, 6, 1]
    parts = tiny.networks() | {"text": t5}
    write_bundle(tmp_path / "t5.safetensors", parts, tiny.CONFIG | {"text": t5.config}, torch.float32)
    engine = load_engine(tmp_path / "t5.safetensors", prompt="A cat speaks.", device="cpu")
    torch.testing.assert_close(engine.text, t5.encode(["A cat speaks."]))


def test_what_is_no_text_encoder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no text encoder"):
        load_text(tmp_path)


def test_torch_s_advice_to_run_a_file_s_code_is_not_passed_on(tmp_path):
    (tmp_path / "tiny.pt").write_bytes(pickle.dumps(print))
    with pytest.raises(CheckpointError, match="is damaged or holds more than tensors") as error:
        read_content(tmp_path / "tiny.pt")
    assert "weights_only" not in str(error.value)
