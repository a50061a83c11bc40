"""X-Dub's MODEL where the host holds it only partly on the device, and where the host compiles it.

There is no graphics card here. A device of torch's fake tensors stands in for one: it holds shapes and places, no
numbers, and refuses an operation whose tensors lie on two devices, as a card does. It knows no tensors of other packs:
GGUF files are offloaded in `test_xdub_gguf.py`, by numbers on the CPU.
"""

import pytest
import torch
from safetensors.torch import save_file
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.host.xdub_parts import HEARS, TEXT, WAV, WEIGHTS, held_within, listed, node, velocities, write_whisper

CARD = torch.device("cuda", 0)
PLACES = {1: {"cpu"}, 300_000: {"cpu", "cuda:0"}, 1 << 40: {"cuda:0"}}
"""Bytes of weights that the host may hold on the card, and where they lie then."""


@pytest.fixture(scope="module")
def files(host):
    sizes = host.module("omnisync_core.engines.xdub.config")
    config = sizes.XDubConfig(64, 1, 1, 64, 48, TEXT, 32, HEARS + WAV, 32, 1, 1, 100)
    torch.manual_seed(0)
    state = host.module("omnisync_core.engines.xdub").XDubDiT(config).state_dict()
    state = {key: torch.randn_like(value) * 0.1 for key, value in state.items()}
    for name in ("diffusion_models", "audio_encoders"):
        (host.base / "models" / name).mkdir(exist_ok=True)
    folder = host.base / "models" / "diffusion_models"
    save_file(state, folder / "small.safetensors")
    write_whisper(host)
    listed()
    return state


def load(host):
    host.forget()
    return host.run({"m": node("OmniSyncLoadXDub", **{**WEIGHTS, "model_name": "small.safetensors"})})["m"][0]


def with_lora(patcher):
    import comfy.sd

    generator = torch.Generator().manual_seed(5)
    down, up = torch.randn(2, 64, generator=generator), torch.randn(192, 2, generator=generator)
    key = "diffusion_model.head.head"
    lora = {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
    return comfy.sd.load_lora_for_models(patcher, None, lora, 1.0, 0)[0]


@pytest.mark.parametrize("budget", [1, 300_000], ids=["nothing loaded", "some loaded"])
def test_partly_loaded_it_gives_the_same(host, files, budget):
    plain = load(host)
    patched = with_lora(plain)
    whole = velocities(host, patched)[0]
    found = held_within(patched, budget, lambda: velocities(host, patched)[0])
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)
    assert (whole - velocities(host, plain)[0]).abs().max() > 1e-3


def put(module, device):
    """`Module.to`, which for fake tensors wants to swap what others still hold."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            held.update({key: value.to(device) for key, value in held.items() if value is not None})
    return module


@pytest.mark.parametrize("budget", PLACES, ids=["nothing on it", "some on it", "all on it"])
@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="OFFLOADING IS NOT TESTED: this torch knows no cuda")
def test_no_operation_meets_two_devices(host, files, monkeypatch, budget):
    import comfy.ldm.modules.attention as attention

    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    patcher = with_lora(load(host))
    model = patcher.model
    monkeypatch.setattr(torch.nn.Module, "to", put)
    options = {"optimized_attention_override": lambda _, *given, **more: attention.attention_pytorch(*given, **more)}
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as numberless:
        for module in model.modules():
            for held in (module._parameters, module._buffers):
                held.update({key: numberless.from_tensor(value) for key, value in held.items() if value is not None})
        patcher.load(CARD, lowvram_model_memory=budget, full_load=budget > 1 << 30)
        places = {str(value.device) for value in model.diffusion_model.parameters()}
        assert places == PLACES[budget]
        source, latents = (torch.empty(2, 48, 3, 4, 4, device=CARD) for _ in range(2))
        found = model.apply_model(
            latents, torch.full((2,), 0.5, device=CARD), c_crossattn=torch.empty(2, 5, TEXT, device=CARD),
            ref_latents=source, audio_feats=torch.empty(2, 3, 8, HEARS + WAV, device=CARD), motion_frames=1,
            transformer_options=options,
        )  # fmt: skip
    assert found.device == CARD
    assert found.shape == latents.shape
