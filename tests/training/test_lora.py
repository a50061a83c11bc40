"""A LoRA learned through peft is the same one in the host: W + B A, with alpha / rank in B."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from omnisync_core.errors import InputError

pytest.importorskip("peft")

from omnisync_core.training.lora import add_lora, linear_layers, low_rank, write_lora
from tests.engines.latentsync import small

GIVEN = 300


def learned(unet: nn.Module, rank: int, alpha: float | None) -> nn.Module:
    """A LoRA on what hears, with numbers in both of its matrices."""
    add_lora(unet, linear_layers(unet, ("attn2.",)), rank, alpha)
    torch.manual_seed(2)
    for name, value in unet.named_parameters():
        if "lora_" in name:
            value.data.normal_(0, 0.1)
    return unet


def answer(unet: nn.Module) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        return unet(torch.randn(1, 13, 2, 4, 4), GIVEN, torch.randn(1, 2, 5, small.AUDIO))


@pytest.mark.parametrize("rank, alpha", [(4, None), (3, 12.0)])
def test_the_host_s_formula_gives_what_peft_does(tmp_path, rank, alpha):
    through_peft = answer(learned(small.unet(), rank, alpha))
    path = write_lora(tmp_path / "a.safetensors", low_rank(learned(small.unet(), rank, alpha)), {"base": "small"})
    tensors, plain = load_file(path), small.unet()
    layers = {key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")}
    weights = dict(plain.named_parameters())
    assert len(layers) * 2 == len(tensors)
    for layer in layers:
        inner, outer = (tensors[f"{layer}.lora_{half}.weight"] for half in "AB")
        weights[f"{layer.removeprefix('diffusion_model.')}.weight"] += outer @ inner
    assert (answer(plain) - through_peft).abs().max() < 1e-5
    assert (answer(small.unet()) - through_peft).abs().max() > 1e-3, "the LoRA does something"


def test_nothing_is_added_at_first_and_the_additions_alone_learn():
    unet = add_lora(small.unet(), linear_layers(small.unet(), ("attn2.",)), 4)
    assert torch.equal(answer(unet), answer(small.unet()))
    learning = [name for name, value in unet.named_parameters() if value.requires_grad]
    assert learning
    assert all("attn2." in name and "lora_" in name for name in learning)
    assert all(inner.shape[0] == outer.shape[1] == 4 for inner, outer in low_rank(unet).values())


@pytest.mark.parametrize("layers, rank", [([], 4), (["up_blocks.1.attentions.0.proj_in"], 0)])
def test_nothing_to_learn_is_refused(layers, rank):
    with pytest.raises(InputError, match="LoRA needs layers and a rank of 1 or more"):
        add_lora(small.unet(), layers, rank)
