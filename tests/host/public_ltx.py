"""LTX's files as they are published, tiny and random: see `public_files.py`. Their sizes lie in their metadata."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.host.public_files import SPEECH, TEXT, WORDS, drawn, folder, mixed_fp4, placed, scaled_fp8, spiece

LTX = {
    "num_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2, "audio_attention_head_dim": 16,
    "audio_num_attention_heads": 2, "cross_attention_dim": 64, "audio_cross_attention_dim": 32,
    "connector_num_attention_heads": 2, "connector_attention_head_dim": 16, "audio_connector_num_attention_heads": 2,
    "audio_connector_attention_head_dim": 16, "connector_num_layers": 1, "caption_channels": TEXT,
}  # fmt: skip
LTX_2_3 = LTX | {
    "apply_gated_attention": True, "connector_apply_gated_attention": True, "caption_proj_before_connector": True,
    "caption_projection_first_linear": False, "cross_attention_adaln": True, "connector_attention_head_dim": 32,
}  # fmt: skip
"""Gates, modulated cross-attention, and a text that the text encoder projects for picture and sound."""
LTX_2_5 = LTX_2_3 | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}
"""What the host knows of it beyond LTX-2.3; its published configuration was not at hand."""
ONE = {"num_layers": 1}
ENCODER = [
    ["res_x", ONE], ["compress_space_res", {"multiplier": 2}], ["res_x", ONE], ["compress_time_res", {"multiplier": 2}],
    ["res_x", ONE], ["compress_all_res", {"multiplier": 2}], ["res_x", ONE], ["compress_all_res", {"multiplier": 2}],
    ["res_x", ONE],
]  # fmt: skip
WHOLE = ["compress_all", {"residual": True, "multiplier": 2}]
LTX_VAE = {
    "dims": 3, "in_channels": 3, "out_channels": 3, "latent_channels": 128, "patch_size": 4,
    "encoder_blocks": ENCODER, "decoder_blocks": [["res_x", ONE], WHOLE, ["res_x", ONE], WHOLE, ["res_x", ONE], WHOLE,
                                                  ["res_x", ONE]],
    "norm_layer": "pixel_norm", "latent_log_var": "uniform", "encoder_base_channels": 8, "decoder_base_channels": 8,
}  # fmt: skip
DIFFUSING_VAE = {
    "_class_name": "CausalDiffusionVAE", "dims": 3, "model_output_type": "x0",
    "encoder": {"dims": 3, "in_channels": 3, "out_channels": 128, "blocks": [*ENCODER[:7], [
        "compress_all_res", {"multiplier": 1}], ["res_x", ONE]], "patch_size": 4, "latent_log_var": "constant",
        "norm_layer": "pixel_norm", "base_channels": 8, "spatial_padding_mode": "zeros"},
    "decoder": {"in_channels": 128, "out_channels": 3, "patch_size": 4, "head_dim": 8, "t_emb_dim": 16,
                "stage_channels": [64, 32, 16, 16, 8], "stage_depths": [1, 1, 1, 1, 1],
                "stage_kernels": [[3, 3, 3]] * 5, "stage5_kernel": [3, 3, 3],
                "upsamples": [[[1, 2, 2], 2], [[2, 1, 1], 2], [[2, 2, 2], 1], [[2, 2, 2], 2]]},
}  # fmt: skip
"""LTX-2.5 draws its pictures from noise, in one step."""
AUDIO_VAE = {
    "model": {"params": {"sampling_rate": 16000, "ddconfig": {
        "double_z": True, "mel_bins": 64, "z_channels": 8, "resolution": 256, "downsample_time": False,
        "in_channels": 2, "out_ch": 2, "ch": 4, "ch_mult": [1, 2, 4], "num_res_blocks": 1, "attn_resolutions": [],
        "dropout": 0.0, "mid_block_add_attention": False, "norm_type": "pixel", "causality_axis": "height",
    }}},
    "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
}  # fmt: skip
VOCODER = {
    "upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]],
}  # fmt: skip


def write_ltx(models: Path, name: str = "ltx-2-19b-dev-fp8", sizes: dict = LTX) -> None:
    """The checkpoint: transformer in fp8 with a scale a layer, both VAEs, vocoder, the text's projection."""
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

    config = {"transformer": sizes, "vae": LTX_VAE, "audio_vae": AUDIO_VAE, "vocoder": VOCODER}
    metadata = {"config": json.dumps(config)}
    blocks, scales = scaled_fp8(ltx_transformer(sizes), lambda key: "transformer_blocks" in key)
    layers = {layer: {"format": "float8_e4m3fn"} for layer in scales}
    weights = blocks | {f"{layer}.weight_scale": scale for layer, scale in scales.items()}
    weights |= {f"{layer}.input_scale": torch.tensor(1.0) for layer in scales}
    weights |= placed("vae.", drawn(VideoVAE(config=LTX_VAE)))
    sound = drawn(AudioVAE(metadata))
    weights |= {key.replace("autoencoder.", "audio_vae.", 1): value for key, value in sound.items()}
    weights |= text_projection(sizes)
    metadata["_quantization_metadata"] = json.dumps({"format_version": "1.0", "layers": layers})
    save_file(weights, folder(models, "checkpoints") / f"{name}.safetensors", metadata)


def ltx_transformer(sizes: dict) -> dict:
    import comfy.ops
    from comfy.ldm.lightricks.av_model import LTXAVModel

    network = LTXAVModel(**sizes, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init)
    return placed("model.diffusion_model.", drawn(network, 0.4))


def text_projection(sizes: dict) -> dict:
    """From all of Gemma's layers to what the transformer reads."""
    states = TEXT * 49
    if sizes.get("caption_projection_first_linear", True):
        return {"text_embedding_projection.aggregate_embed.weight": torch.randn(TEXT, states) / states**0.5}
    weights = {}
    for name, wide in (("video", sizes["cross_attention_dim"]), ("audio", sizes["audio_cross_attention_dim"])):
        layer = f"text_embedding_projection.{name}_aggregate_embed"
        weights |= {f"{layer}.weight": torch.randn(wide, states) / states**0.5, f"{layer}.bias": torch.zeros(wide)}
    return weights


def write_gemma(models: Path) -> None:
    """Gemma 3 12B, 48 layers in nvfp4, with its words."""
    import comfy.ops
    from comfy.text_encoders import llama

    network = llama.Gemma3_12B({}, torch.float32, "cpu", comfy.ops.manual_cast)
    weights = mixed_fp4(drawn(network))
    weights["spiece_model"] = spiece(pad_id=0, eos_id=1, bos_id=2, unk_id=3)
    save_file(weights, folder(models, "text_encoders") / "gemma_3_12B_it_fp4_mixed.safetensors")


def write_ltx_2_5(models: Path) -> None:
    """LTX-2.5 comes in parts: transformer, Gemma 4 12B with the text's projections, two VAEs."""
    import comfy.ops
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE
    from comfy.ldm.lightricks.vae.na_diffusion_decoder import CausalDiffusionVAE
    from comfy.text_encoders import gemma4

    metadata = {"config": json.dumps({"transformer": LTX_2_5})}
    name = "ltx-2.5-22b-distilled-transformer-comfy-int8-convrot"
    save_file(ltx_transformer(LTX_2_5), folder(models, "diffusion_models") / f"{name}.safetensors", metadata)
    network = gemma4.Gemma4_12B({}, torch.float32, "cpu", comfy.ops.manual_cast)
    weights = drawn(network) | text_projection(LTX_2_5) | {"tokenizer_json": tokenizer()}
    name = "gemma4-12b-with-proj-ltx-2.5-comfy-int8-convrot"
    save_file(weights, folder(models, "text_encoders") / f"{name}.safetensors")
    metadata = {"config": json.dumps({"vae": DIFFUSING_VAE})}
    save_file(
        drawn(CausalDiffusionVAE(DIFFUSING_VAE)), folder(models, "vae") / "ltx-2.5-video-vae-bf16.safetensors", metadata
    )
    metadata = {"config": json.dumps({"audio_vae": AUDIO_VAE, "vocoder": VOCODER})}
    sound = {key.replace("autoencoder.", "audio_vae.", 1): value for key, value in drawn(AudioVAE(metadata)).items()}
    save_file(sound, folder(models, "vae") / "ltx-2.5-audio-vae-bf16.safetensors", metadata)


def tokenizer() -> torch.Tensor:
    """A tokenizer of some words, as JSON."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    made.train_from_iterator([SPEECH], trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special))
    return torch.frombuffer(bytearray(made.to_str().encode()), dtype=torch.uint8)
