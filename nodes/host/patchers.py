"""How a network becomes a MODEL or a VAE of the host: what its weights are kept in, and who moves them."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_base
import comfy.model_management as memory
import comfy.model_patcher
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor, nn

from ...omnisync_core.checkpoint import check_strictly
from .weights import chosen_dtype


def model_patcher(
    config: comfy.supported_models_base.BASE,
    build: Callable[[], comfy.model_base.BaseModel],
    tensors: dict[str, Tensor],
    name: str,
    weight_dtype: str,
    disable_dynamic: bool,
):
    """The MODEL that `build` makes of `config` once its types are chosen. CheckpointError: `tensors` do not fit it."""
    device, kinds = memory.get_torch_device(), config.supported_inference_dtypes
    kept = chosen_dtype(weight_dtype) or memory.unet_dtype(
        model_params=comfy.utils.calculate_parameters(tensors), supported_dtypes=kinds
    )
    config.set_inference_dtype(kept, memory.unet_manual_cast(kept, device, kinds), device=device)
    model = build()
    patcher = streamed_patcher(model, device, memory.unet_offload_device(), disable_dynamic)
    check_strictly(model.diffusion_model, tensors, name)
    model.diffusion_model.load_state_dict(stored(tensors, kept), assign=patcher.is_dynamic())
    return patcher


def stored(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Tables of positions (`.pe`) are added to activations: they keep their precision where weights are fp8."""
    return {key: value if key.endswith(".pe") else value.to(dtype) for key, value in tensors.items()}


def streamed_patcher(
    network: nn.Module, load_device: torch.device, offload_device: torch.device, disable_dynamic: bool
):
    """The host's patcher of a network of its own layers, which it can stream in parts."""
    kind = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    return kind(network, load_device=load_device, offload_device=offload_device)


def whole_patcher(network: nn.Module):
    """The host's patcher of an encoder of plain layers, which it moves whole."""
    return comfy.model_patcher.ModelPatcher(
        network, load_device=memory.text_encoder_device(), offload_device=memory.text_encoder_offload_device()
    )
