"""A LoRA of a speaker by the host's own *LoraLoaderModelOnly*: what peft gives to 1e-5, and the template runs with it.

Without peft its file stands for it: `tests/training/test_lora.py` holds the two together.
"""

import json
import shutil

import pytest
import torch

from tests.host.conftest import ROOT
from tests.host.test_adapter import bundle, loaded  # noqa: F401 - fixtures

CLOSE, RANK = 1e-5, 4


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
        lora.write_lora(folder / "speaker.safetensors", dit)
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
