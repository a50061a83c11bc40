"""Prompts: the encoder of any T5, UMT5 or ByT5 with its own tokenizer. Text BLD, L tokens of width D."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from ..errors import CheckpointError

MINI = {
    "architecture": "byt5",
    "vocab_size": 384,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": True,
}
LENGTH = 64
"""Tokens of a prompt; shorter ones are filled with zero features, longer ones are cut."""


class TextEncoder(nn.Module):
    """transformers' encoder. `architecture` in the config is t5, umt5 or byt5; the width is the config's d_model.

    `tokenizer` in the config is a tokenizer as the library tokenizers writes it (JSON): a bundle brings its own.
    """

    def __init__(self, config: dict, tokenize: Callable[[str], list[int]] | None = None) -> None:
        super().__init__()
        self.config = dict(config)
        settings = {key: value for key, value in config.items() if key not in ("architecture", "tokenizer")}
        if config["architecture"] == "umt5":
            self.encoder = UMT5EncoderModel(UMT5Config(**settings, dropout_rate=0.0))
        else:
            self.encoder = T5EncoderModel(T5Config(**settings, dropout_rate=0.0))
        if tokenize is None and "tokenizer" in config:
            tokenize = _tokenizer(config["tokenizer"])
        if tokenize is None and config["architecture"] != "byt5":
            raise ValueError(f"a {config['architecture']} encoder needs its tokenizer; only byt5 reads plain bytes")
        self.tokenize = tokenize or byte_tokens

    @property
    def width(self) -> int:
        return self.config["d_model"]

    def forward(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Features, zero beyond each prompt's end."""
        states = self.encoder(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        return states * mask_BL[..., None].to(states.dtype)

    def encode(self, prompts: list[str], length: int = LENGTH) -> Tensor:
        """(B, length, D). An empty prompt is all zeros: the unconditional text."""
        device = self.encoder.get_input_embeddings().weight.device
        ids, mask = torch.zeros(len(prompts), length, dtype=torch.long), torch.zeros(len(prompts), length)
        for row, prompt in enumerate(prompts):
            tokens = self._tokens(prompt)[:length]
            ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
            mask[row, : len(tokens)] = 1
        states = self(ids.to(device), mask.to(device))
        return torch.where(mask.to(device)[..., None] > 0, states, torch.zeros((), device=device, dtype=states.dtype))

    def _tokens(self, prompt: str) -> list[int]:
        tokens = self.tokenize(prompt) if prompt else []
        words = self.config["vocab_size"]
        if any(not 0 <= token < words for token in tokens):
            raise CheckpointError(f"the text encoder knows {words} words, its tokenizer gives more: they do not belong")
        return tokens


def _tokenizer(text: str) -> Callable[[str], list[int]]:
    """A tokenizer from its JSON. CheckpointError: it is none."""
    try:
        tokenizer = Tokenizer.from_str(text)
        tokenizer.encode("A person speaks.")
    except Exception as error:  # the library raises no narrower one
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"the text encoder's tokenizer cannot be read ({reason}); download it again") from None
    return lambda prompt: tokenizer.encode(prompt).ids


def load_text(folder: str | Path) -> TextEncoder:
    """The encoder of a T5, UMT5 or ByT5 from a folder as transformers writes it, with its tokenizer; no network."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"no text encoder at {folder}; expected a folder with config.json, weights and tokenizer")
    try:
        settings = AutoConfig.from_pretrained(folder, local_files_only=True)
        kind = UMT5EncoderModel if settings.model_type == "umt5" else T5EncoderModel
        # Only their numbers are taken; a folder's own choice of attention may name foreign code.
        weights = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, attn_implementation="eager")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder} holds no usable T5 ({str(error).splitlines()[0]})") from None
    if settings.model_type not in ("t5", "umt5"):
        raise CheckpointError(f"{folder} holds a {settings.model_type}, expected T5, UMT5 or ByT5")
    names = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads", "feed_forward_proj")
    config = {"architecture": settings.model_type, **{name: getattr(settings, name) for name in names}}
    if tokenizer.is_fast:
        config["tokenizer"] = tokenizer.backend_tokenizer.to_str()
    encoder = TextEncoder(config, lambda text: tokenizer(text).input_ids)
    encoder.encoder.load_state_dict(weights.state_dict())
    return encoder.eval()


def byte_tokens(text: str) -> list[int]:
    """ByT5's tokens: each byte of UTF-8 plus 3 (0 = padding, 1 = end, 2 = unknown), then the end."""
    return [byte + 3 for byte in text.encode("utf-8")] + [1]
