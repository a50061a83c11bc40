"""Files as they are published, tiny and random: the same names, folders, keys and kinds of numbers.

Sizes that the host reads from a file are small in the file. Sizes that the host has fixed are made smaller in its
tables by `fewer`: widths, heads, words; never a layer, never a name. LTX's files: `public_ltx.py`.
"""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

WORDS, TEXT = 320, 32
SPEECH = "A person is speaking. A man facing the camera says hello to everyone in the room and smiles happily."


@contextmanager
def fewer():
    """While it lasts the host builds its networks of fixed size with fewer channels, heads and words."""
    import comfy.audio_encoders.whisper as whisper
    import comfy.sd
    import comfy.text_encoders.gemma4 as gemma4
    import comfy.text_encoders.llama as llama
    import comfy.text_encoders.t5 as t5

    umt5, layer, vae = t5.T5, whisper.EncoderLayer, comfy.sd.AutoencoderKL

    def small(table, seen: dict, **widths):
        def sizes(**given):
            found = table(**given, vocab_size=WORDS, hidden_size=TEXT, intermediate_size=TEXT, num_attention_heads=2,
                          num_key_value_heads=1)  # fmt: skip
            found.vision_config = {**table.vision_config, **seen}
            for name, width in widths.items():
                setattr(found, name, width)
            return found

        return sizes

    gemmas = (
        (llama, "Gemma3_12B_Config", {"hidden_size": 16, "num_attention_heads": 1, "num_hidden_layers": 1,
                                      "intermediate_size": 16}, {"head_dim": 16}),
        (gemma4, "Gemma4_12B_Config", {"mm_embed_dim": TEXT, "output_proj_dims": TEXT},
         {"head_dim": 16, "global_head_dim": 32}),
    )  # fmt: skip

    def small_umt5(sizes, *rest):
        return umt5({**sizes, "d_model": TEXT, "d_kv": 8, "num_heads": 2, "vocab_size": WORDS}, *rest)

    def small_vae(ddconfig, embed_dim, **other):
        return vae(ddconfig={**ddconfig, "ch": 32, "ch_mult": [1, 1, 1, 1]}, embed_dim=embed_dim)

    with pytest.MonkeyPatch.context() as patch:
        for module, name, seen, widths in gemmas:
            patch.setattr(module, name, small(getattr(module, name), seen, **widths))
        patch.setattr(t5, "T5", small_umt5)
        patch.setattr(whisper, "EncoderLayer", lambda width, heads, ff, **place: layer(width, heads, 16, **place))
        patch.setattr(comfy.sd, "AutoencoderKL", small_vae)
        yield


def drawn(network: torch.nn.Module | dict, spread: float = 1.0) -> dict:
    """Weights, random but tame: norms near one, statistics of latents ones."""
    generator, weights = torch.Generator().manual_seed(0), {}
    given = network if isinstance(network, dict) else network.state_dict()
    for key, value in given.items():
        noise = torch.randn(value.shape, generator=generator)
        if "std-of-means" in key:
            weights[key] = torch.ones(value.shape)
        elif value.ndim > 1:
            weights[key] = spread * noise / value[0].numel() ** 0.5
        else:
            weights[key] = 0.1 * noise + (1.0 if "gamma" in key or ("norm" in key and key.endswith("weight")) else 0.0)
    return weights


def placed(prefix: str, weights: dict) -> dict:
    return {f"{prefix}{key}": value for key, value in weights.items()}


def half(weights: dict) -> dict:
    return {key: value.half() for key, value in weights.items()}


def plain_fp8(weights: dict) -> dict:
    """Matrices in fp8, the rest fp16; no scales."""
    return {key: value.to(torch.float8_e4m3fn if value.ndim > 1 else torch.float16) for key, value in weights.items()}


def scaled_fp8(weights: dict, is_scaled) -> tuple[dict, dict]:
    """Chosen matrices in fp8, each with the scale of its layer; the scales by layer."""
    kept, scales = {}, {}
    for key, value in weights.items():
        if value.ndim != 2 or not is_scaled(key):
            kept[key] = value.half()
            continue
        scale = value.abs().max() / 448
        kept[key], scales[key.removesuffix(".weight")] = (value / scale).to(torch.float8_e4m3fn), scale
    return kept, scales


def mixed_fp4(weights: dict) -> dict:
    """The layers' matrices in nvfp4, as the host quantizes them; the rest bfloat16."""
    from comfy.quant_ops import QuantizedTensor

    kept, named = {}, torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    for key, value in weights.items():
        if value.ndim != 2 or "model.layers." not in key:
            kept[key] = value.bfloat16()
            continue
        quantized = QuantizedTensor.from_float(value, "TensorCoreNVFP4Layout")
        layer, params = key.removesuffix(".weight"), quantized.params
        kept |= {key: quantized._qdata.clone(), f"{layer}.weight_scale": params.block_scale.clone(),
                 f"{layer}.weight_scale_2": params.scale.clone(), f"{layer}.comfy_quant": named.clone()}  # fmt: skip
    return kept


def spiece(**ids: int) -> torch.Tensor:
    """A SentencePiece model of some words, as text encoders' files carry it."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([SPEECH] * 20), model_writer=model, vocab_size=WORDS, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2, **ids,
    )  # fmt: skip
    return torch.frombuffer(bytearray(model.getvalue()), dtype=torch.uint8)


def folder(models: Path, name: str) -> Path:
    (models / name).mkdir(parents=True, exist_ok=True)
    return models / name


def write_humo(models: Path) -> None:
    """HuMo 1.7B in fp16, 17B in plain fp8 with a video beside the noise; the Wan 2.1 VAE."""
    import comfy.ldm.wan.vae
    import comfy.ops
    from comfy.ldm.wan.model import HumoWanModel

    metadata = {"config": json.dumps({"transformer": {"text_dim": TEXT}})}
    for name, channels, kind in (("humo_1.7B_fp16", 16, half), ("humo_17B_fp8_e4m3fn", 36, plain_fp8)):
        network = HumoWanModel(
            in_dim=channels, dim=128, ffn_dim=64, num_heads=1, num_layers=1, text_dim=TEXT,
            dtype=torch.float32, operations=comfy.ops.disable_weight_init,
        )  # fmt: skip
        save_file(kind(drawn(network)), folder(models, "diffusion_models") / f"{name}.safetensors", metadata)
    wan = comfy.ldm.wan.vae.WanVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True])
    save_file(drawn(wan), folder(models, "vae") / "wan_2.1_vae.safetensors")


def write_humo_lora(models: Path, pack) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A LoRA of a speaker over the small 1.7B, by the training's own writer; layer -> A and B under HuMo's names."""
    humo, lora = pack("omnisync_core.models.humo"), pack("omnisync_core.training.lora")
    config = replace(humo.HUMO, width=128, depth=1, heads=1, ffn_width=64, text_dim=TEXT)
    dit, generator = pack("omnisync_core.models.dit").DiT(config, device="meta"), torch.Generator().manual_seed(1)
    pairs = {}
    for name in lora.linear_layers(dit, ("attention.", ".ffn.")):
        outputs, inputs = dit.get_submodule(name).weight.shape
        pairs[name] = tuple(torch.randn(shape, generator=generator) for shape in ((4, inputs), (outputs, 4)))
    pairs = humo.original_pairs(pairs, config.heads)
    lora.write_lora(folder(models, "loras") / "humo_lora.safetensors", pairs)
    return pairs


def write_umt5(models: Path) -> None:
    """UMT5-XXL in scaled fp8: 24 blocks, their inner width."""
    import comfy.ops
    from comfy.text_encoders import t5

    table = json.loads((Path(t5.__file__).parent / "umt5_config_xxl.json").read_text(encoding="utf-8"))
    network = t5.T5(table, torch.float32, "cpu", comfy.ops.manual_cast)
    linear = ("SelfAttention.q", "SelfAttention.k", "SelfAttention.v", "SelfAttention.o", "DenseReluDense")
    weights, scales = scaled_fp8(drawn(network), lambda key: any(name in key for name in linear))
    weights |= {f"{layer}.scale_weight": scale for layer, scale in scales.items()}
    weights["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    weights["spiece_model"] = spiece(pad_id=0, eos_id=1, bos_id=-1, unk_id=2)
    save_file(weights, folder(models, "text_encoders") / "umt5_xxl_fp8_e4m3fn_scaled.safetensors")


def write_whisper_large_v3(models: Path) -> None:
    """32 layers of 1280, as HuMo hears them, in fp16."""
    import comfy.ops
    from comfy.audio_encoders.whisper import WhisperLargeV3

    network = WhisperLargeV3(dtype=torch.float16, device="meta", operations=comfy.ops.manual_cast)
    shapes = {key: value for key, value in network.state_dict().items() if "feature_extractor" not in key}
    path = folder(models, "audio_encoders") / "whisper_large_v3_fp16.safetensors"
    save_file(placed("model.", half(drawn(shapes, 0.5))), path)


def write_latentsync(models: Path, pack) -> None:
    """The UNet and Whisper tiny as published, pickles of tensors; Stable Diffusion's VAE. `pack` imports our core."""
    import comfy.ops
    import comfy.sd

    config = pack("omnisync_core.engines.latentsync.config")
    network = pack("omnisync_core.engines.latentsync").UNet(latentsync_sizes(config))
    path = folder(models, "diffusion_models") / "latentsync_unet.pt"
    torch.save({"global_step": 7, "state_dict": half(drawn(network))}, path)
    sizes = {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 64,
             "num_mel_bins": 80, "max_source_positions": 1500}  # fmt: skip
    whisper = pack("omnisync_core.models.whisper").WhisperEncoder(sizes)
    dims = {"n_audio_head": 6, "n_audio_layer": 4}
    published = {"dims": dims, "model_state_dict": whisper.state_dict()}
    torch.save(published, folder(models, "audio_encoders") / "tiny.pt")
    whole = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
             "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip
    vae = comfy.sd.AutoencoderKL(ddconfig=whole, embed_dim=4)
    save_file(drawn(vae), folder(models, "vae") / "vae-ft-mse-840000-ema-pruned.safetensors")


def latentsync_sizes(sizes):
    """A UNet of one layer a block that hears Whisper tiny's 384 numbers."""

    def layer(inputs, attends=True, moves=True):
        attention = sizes.AttentionConfig(1, 32, 384, linear=False) if attends else None
        return sizes.LayerConfig(inputs, 32, attention, sizes.MotionConfig(1, 2, 32, 24) if moves else None)

    down = tuple(sizes.BlockConfig((layer(32, False),), is_last) for is_last in (True, True, True, False))
    up = tuple(
        sizes.BlockConfig((layer(64, False), layer(64, False)), is_last) for is_last in (True, True, True, False)
    )
    mid = (layer(32, False, False), layer(32, True, False))
    return sizes.UNetConfig(13, 4, 32, 128, down, mid, up)
