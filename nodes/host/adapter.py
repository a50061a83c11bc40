"""What was learned of a speaker, on the host's models: patches on clones, and the learning itself."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.model_management as memory
import torch

from ...omnisync_core.adapter import Adapter, check_base, check_fits
from ...omnisync_core.errors import InputError
from .models import OmniSyncModel
from .progress import LEARNING_PARTS, JobBar
from .vae import ChunkedVAE
from .video import unfinished_folder

LOAD_MODEL = "connect Load OmniSync Model"


def apply_adapter(model, vae, adapter: Adapter, strength: float) -> tuple[Any, Any]:
    """MODEL and VAE of a bundle with what was learned over it: the transformer by the host's own LoRA, the decoder by
    differences. CheckpointError: it was learned with another bundle; InputError: MODEL and VAE are of none, or two."""
    network = check_bundle(model, vae)
    check_base(adapter, model.model.bundle_digest)
    check_fits(adapter, model.model.diffusion_model, network.decoder)
    if strength == 0:
        return model, vae
    tensors = {key: value for key, value in adapter.tensors.items() if key.startswith("diffusion_model.")}
    patches = comfy.lora.load_lora(tensors, comfy.lora.model_lora_keys_unet(model.model, {}))
    model = model.clone()
    model.add_patches(patches, strength)
    # The host's dynamic memory patches its own layers alone, and a norm's weights are none of them: kept whole.
    vae, patcher = copy.copy(vae), vae.patcher.clone(disable_dynamic=True)
    vae.patcher, vae.first_stage_model = patcher, patcher.model
    patcher.add_patches({f"decoder.{name}": ("diff", (value,)) for name, value in adapter.decoder().items()}, strength)
    return model, vae


def check_bundle(model, vae) -> ChunkedVAE:
    """The VAE's network. InputError unless MODEL and VAE are of one bundle."""
    transformer, network = getattr(model, "model", None), getattr(vae, "first_stage_model", None)
    if not isinstance(transformer, OmniSyncModel):
        raise InputError(f"the MODEL is {type(transformer).__name__}, not a transformer of OmniSync; {LOAD_MODEL}")
    if not isinstance(network, ChunkedVAE):
        raise InputError(f"the VAE is {type(network).__name__}, not one of OmniSync; {LOAD_MODEL}")
    if transformer.bundle_digest != network.bundle_digest:
        raise InputError("MODEL and VAE are of two bundles; connect both to the same Load OmniSync Model")
    return network


def learn(part, sound: Path | None, output: Path, bundle: Path, options):
    """The core's `adapt` on the host's device, with the host's bar and cancel; goes on where it was stopped.

    Nodes run in inference mode, in which nothing can learn: it is left here.
    """
    from ...omnisync_core.adaptation import adapt

    memory.unload_all_models()
    memory.soft_empty_cache()
    bar = JobBar(parts=LEARNING_PARTS)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            return adapt(
                part, output, audio=sound, model=bundle, options=options, device=str(memory.get_torch_device()),
                state=unfinished_folder(), progress=bar,
            )  # fmt: skip
    finally:
        gc.collect()
        memory.soft_empty_cache()
