"""A LoRA of a speaker by the host's own *LoraLoaderModelOnly*: what peft gives to 1e-5, and the template runs with it.

Without peft its file stands for it: `tests/training/test_lora.py` holds the two together.
"""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tests.host.conftest import ROOT
from tests.host.test_adapter import bundle, loaded  # noqa: F401 - fixtures
from tests.host.test_omniedit import TINY_HUMO

CLOSE, RANK = 1e-5, 4
SIGMA = 1 / 64
"""Low, so that the rounding of a timestep's angle does not count."""


def given() -> tuple:
    random = torch.Generator().manual_seed(4)
    shapes = ((1, 16, 3, 4, 4), (1,), (1, 16, 3, 4, 4), (1, 9, 2, 16), (1, 5, 8))
    return tuple(torch.rand(shape, generator=random) for shape in shapes)


@pytest.fixture
def learned(host, bundle):  # noqa: F811
    """models/loras/speaker.safetensors, and the transformer that it was learned in."""
    core, lora = host.module("omnisync_core.engines.omnisync"), host.module("omnisync_core.training.lora")
    layers_of = ("attention.", ".ffn.")
    dit = core.load_engine(bundle, device="cpu", dtype="float32").dit
    layers, random = lora.linear_layers(dit, layers_of), torch.Generator().manual_seed(5)
    folder = host.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lora.add_lora(dit, layers, RANK, alpha=2.0 * RANK)
    except host.module("omnisync_core.errors").InputError:
        pairs = {}
        for name in layers:
            outputs, inputs = dit.get_submodule(name).weight.shape
            pairs[name] = tuple(
                0.2 * torch.randn(*shape, generator=random) for shape in ((RANK, inputs), (outputs, RANK))
            )
        host.module("omnisync_core.adapter").write_adapter(
            folder / "speaker.safetensors", pairs, {}, {"base": ""}, torch.float32
        )
        for name, (inner, outer) in pairs.items():
            dit.get_submodule(name).weight.data += outer @ inner
    else:
        for name, value in dit.named_parameters():
            if "lora_" in name:
                value.data = 0.2 * torch.randn(value.shape, generator=random)
        lora.write_lora(folder / "speaker.safetensors", lora.low_rank(dit))
    yield dit
    shutil.rmtree(folder)


def test_the_host_s_loader_gives_what_peft_does(host, bundle, loaded, learned):  # noqa: F811
    import comfy.model_management as memory

    core = host.module("omnisync_core.engines.omnisync")
    (model,) = host.node("LoraLoaderModelOnly")().load_lora_model_only(loaded[0], "speaker.safetensors", 1.0)
    assert len(model.patches) == len(host.module("omnisync_core.training.lora").linear_layers(
        core.load_engine(bundle, device="cpu", dtype="float32").dit, ("attention.", ".ffn.")))  # fmt: skip
    plain, patched = (core.load_engine(bundle, device="cpu", dtype="float32").dit for _ in range(2))
    memory.load_models_gpu([model], force_full_load=True)
    patched.load_state_dict({key: value.float() for key, value in model.model.diffusion_model.state_dict().items()})
    memory.unload_all_models()
    with torch.no_grad():
        without, here, there = (dit(*given()) for dit in (plain, patched, learned))
    assert (here - there).abs().max() < CLOSE < 0.01 < (here - without).abs().max()


def test_the_template_runs_with_it(host, bundle, learned):  # noqa: F811
    import folder_paths

    host.load("nodes_video.py", "nodes_preview_any.py")
    bundles = host.base / "models" / "omnisync"
    bundles.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundle, bundles / "own.safetensors")
    folder_paths.filename_list_cache.clear()
    prompt = json.loads((ROOT / "workflows" / "api" / "speaker_lora.json").read_text(encoding="utf-8"))
    by_kind = {node["class_type"]: (key, node["inputs"]) for key, node in prompt.items()}
    by_kind["OmniSyncLoadModel"][1]["model_name"] = "own.safetensors"
    by_kind["LoraLoaderModelOnly"][1]["lora_name"] = "speaker.safetensors"
    by_kind["OmniSyncLipSyncVideo"][1]["preview_seconds"] = 0.4
    results = []
    for strength in (1.0, 0.0):
        by_kind["LoraLoaderModelOnly"][1]["strength_model"] = strength
        video, report = host.run(prompt)[by_kind["OmniSyncLipSyncVideo"][0]][:2]
        assert "10 of 10 frames edited" in report
        results.append(video.get_components().images)
    (bundles / "own.safetensors").unlink()
    assert results[0].shape == results[1].shape
    assert (results[0] - results[1]).abs().max() > 0.01


@pytest.fixture
def over_humo(host):
    """models/loras/humo.safetensors learned over a small HuMo: the host's MODEL, its weights, our transformer."""
    import comfy.supported_models

    core = host.module
    patcher = host.random_patcher(comfy.supported_models.WAN21_HuMo({**TINY_HUMO, "in_dim": 16}), 0.5)
    humo, lora = core("omnisync_core.models.humo"), core("omnisync_core.training.lora")
    config = replace(humo.HUMO, width=64, depth=1, heads=2, ffn_width=64, text_dim=32)
    dit = core("omnisync_core.models.dit").DiT(config).requires_grad_(False)
    weights = {key: value.float() for key, value in patcher.model.diffusion_model.state_dict().items()}
    dit.load_state_dict(humo.convert(weights, config))
    layers, random = lora.linear_layers(dit, ("attention.", ".ffn.")), torch.Generator().manual_seed(6)
    try:
        lora.add_lora(dit, layers, RANK)
    except core("omnisync_core.errors").InputError:  # without peft: what it would add
        pairs = {}
        for name in layers:
            weight = dit.get_submodule(name).weight
            shapes = (RANK, weight.shape[1]), (len(weight), RANK)
            pairs[name] = tuple(0.2 * torch.randn(*shape, generator=random) for shape in shapes)
            weight += pairs[name][1] @ pairs[name][0]
    else:
        for name, value in dit.named_parameters():
            if "lora_" in name:
                value.data = 0.2 * torch.randn(value.shape, generator=random)
        pairs = lora.low_rank(dit)
    folder = host.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    lora.write_lora(folder / "humo.safetensors", humo.original_pairs(pairs, config.heads))
    yield patcher, dit.requires_grad_(False), len(layers)
    shutil.rmtree(folder)


def test_humo_s_own_model_takes_a_lora_of_a_speaker(host, over_humo):
    """By the host's loader, through the host's forward: what our transformer with peft computes."""
    import comfy.model_management as memory

    patcher, dit, count = over_humo
    random = torch.Generator().manual_seed(8)
    shapes = ((1, 16, 3, 8, 8), (1, 3, 8, 5, 1280), (1, 9, 32))
    x, heard, text = (torch.randn(shape, generator=random) for shape in shapes)

    def forward(model):
        memory.load_models_gpu([model], force_full_load=True)
        with torch.no_grad():
            return model.model.diffusion_model(
                x, torch.tensor([1000 * SIGMA]), context=text, audio_embed=heard, transformer_options={}
            )

    without = forward(patcher)
    (model,) = host.node("LoraLoaderModelOnly")().load_lora_model_only(patcher, "humo.safetensors", 1.0)
    assert len(model.patches) == count
    here = forward(model)
    memory.unload_all_models()
    there = dit(x, torch.tensor([SIGMA]), torch.zeros_like(x), heard.reshape(1, 3, 4, 10, 1280), text)
    assert (here - there).abs().max() < CLOSE * here.abs().max() < 0.01 * (here - without).abs().max()
