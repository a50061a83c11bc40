"""What `nodes/host/gguf.py` knows of ComfyUI-GGUF, in small: the same names and habits over torch, one kind of packing.

The host loads this file as a node pack where the real one is not at hand. Its files are torch's own.
"""

import comfy.lora
import comfy.model_patcher
import comfy.ops
import torch
from torch import nn

SCALE = 4
"""Bytes of a row's scale, which stand before its numbers of one byte each."""


class Packed(torch.Tensor):
    """Rows of bytes that tell the shape they unpack to; or numbers as they are, of any shape."""

    true_shape = None
    patches = ()

    @property
    def shape(self):
        return self.true_shape or self.size()

    def detach(self):
        return self

    def to(self, *args, **kwargs):
        moved = super().to(*args, **kwargs)
        moved.true_shape, moved.patches = self.true_shape, self.patches
        return moved


def packed(data, shape) -> Packed:
    tensor = data.as_subclass(Packed)
    tensor.true_shape = torch.Size(shape) if data.dtype == torch.uint8 else None
    return tensor


def pack_rows(tensor: torch.Tensor) -> torch.Tensor:
    rows = tensor.reshape(-1, tensor.shape[-1]).float()
    scales = rows.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
    numbers = (rows / scales).round().to(torch.int8)
    return torch.cat([scales.contiguous().view(torch.uint8), numbers.view(torch.uint8)], 1)


def dequantize_tensor(tensor, dtype=None, dequant_dtype=None):
    if getattr(tensor, "true_shape", None) is None:
        return tensor.to(dtype)
    rows = tensor.as_subclass(torch.Tensor)
    numbers = rows[:, SCALE:].contiguous().view(torch.int8) * rows[:, :SCALE].contiguous().view(torch.float32)
    return numbers.reshape(tensor.true_shape).to(dtype)


def gguf_sd_loader(path):
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:
        raise ValueError("no file of this kind") from error
    if content["arch"] != "wan":
        raise ValueError(f"Unexpected architecture type in GGUF file: {content['arch']!r}")
    return {key: packed(data, shape) for key, (data, shape) in content["tensors"].items()}


class GGMLOps(comfy.ops.manual_cast):
    class Linear(comfy.ops.manual_cast.Linear):
        def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
            nn.Module.__init__(self)
            self.in_features, self.out_features, self.weight, self.bias = in_features, out_features, None, None

        def _load_from_state_dict(self, state_dict, prefix, *_):
            for name in ("weight", "bias"):
                if prefix + name in state_dict:
                    setattr(self, name, nn.Parameter(state_dict[prefix + name], requires_grad=False))

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            """Sizes alone, as the real one."""
            for name, value in self.named_parameters():
                destination[prefix + name] = torch.zeros_like(value, device="meta")

        def forward_comfy_cast_weights(self, x):
            weight, bias = (dequantize_tensor(each.to(x.device), x.dtype) if each is not None else None
                            for each in (self.weight, self.bias))  # fmt: skip
            weight = weight.as_subclass(torch.Tensor)
            if self.weight.patches:
                weight = comfy.lora.calculate_weight(self.weight.patches, weight, "weight")
            return nn.functional.linear(x, weight, None if bias is None else bias.as_subclass(torch.Tensor))


class GGUFModelPatcher(comfy.model_patcher.ModelPatcher):
    def load(self, *args, force_patch_weights=False, **kwargs):
        super().load(*args, force_patch_weights=True, **kwargs)

    def patch_weight_to_device(self, key, device_to=None, inplace_update=False):
        weight = comfy.utils.get_attr(self.model, key)
        if getattr(weight, "true_shape", None) is None:
            super().patch_weight_to_device(key, device_to, inplace_update)
        elif key in self.patches:
            moved = weight.to(device_to)
            moved.patches = self.patches[key]
            comfy.utils.set_attr_param(self.model, key, moved)

    def unpatch_model(self, device_to=None, unpatch_weights=True):
        for parameter in self.model.parameters() if unpatch_weights else ():
            if isinstance(parameter, Packed):
                parameter.patches = ()
        super().unpatch_model(device_to, unpatch_weights)


class UnetLoaderGGUF:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    RETURN_TYPES = ()
    FUNCTION = "run"


NODE_CLASS_MAPPINGS = {"UnetLoaderGGUF": UnetLoaderGGUF}
