"""X-Dub as a GGUF file through *Load X-Dub Model*: by ComfyUI-GGUF where it is at hand, by its stand-in always."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from tests.host import gguf_packs
from tests.host.xdub_parts import HEARS, TEXT, WAV, WEIGHTS, held_within, listed, node, velocities, write_whisper

HALF = 1e-3
"""Of what is expected, in RMS: the real pack unpacks in float16."""
NEAR = {"rows of bytes": 0.03, "F16": 1e-3, "BF16": 0.01, "Q8_0": 0.03, "Q4_0": 0.4}
"""How far a file's velocities may be from those of the weights it was made of, in RMS of these. Q4_K: made of none."""
PACKS = {"stand-in": gguf_packs.StandIn(), "ComfyUI-GGUF": gguf_packs.Real()}
BRANCHES = ("none", "ref", "full")


@pytest.fixture(scope="module")
def state(host):
    """Tiny random weights of the true layout, as wide as blocks of 256 numbers need it."""
    sizes = host.module("omnisync_core.engines.xdub.config")
    torch.manual_seed(0)
    config = sizes.XDubConfig(256, 2, 2, 256, 48, TEXT, 32, HEARS + WAV, 32, 1, 1, 100)
    network = host.module("omnisync_core.engines.xdub").XDubDiT(config)
    state = {}
    for key, value in network.state_dict().items():
        drawn = torch.randn_like(value)
        wide = value[0].numel() ** 0.5 if value.ndim > 1 else 10.0
        state[key] = 1 + 0.1 * drawn if "norm" in key and key.endswith("weight") else drawn / wide
    for name in ("diffusion_models", "audio_encoders"):
        (host.base / "models" / name).mkdir(exist_ok=True)
    write_whisper(host)
    return state


@pytest.fixture(params=PACKS, scope="module")
def pack(host, request):
    """Loaded into the host, and gone from its registry afterwards."""
    import nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
        PACKS[request.param].load(host)
        yield PACKS[request.param]


def load(host, name, weight_dtype="float32"):
    """The file as it is now: the host knows a loader's output by the file's name."""
    listed()
    host.forget()
    given = {**WEIGHTS, "model_name": name, "weight_dtype": weight_dtype}
    return host.run({"m": node("OmniSyncLoadXDub", **given)})["m"][0]


def place(host, name):
    return host.base / "models" / "diffusion_models" / name


def expected(host, tensors, given, latents):
    """By the core's own network in float32."""
    network = host.module("omnisync_core.engines.xdub").load_dit(tensors)
    with torch.inference_mode():
        return torch.cat([
            network(latents, torch.tensor([600.0]), ref_latents=given.reference(branch), context=given.context,
                    audio_feats=given.sound(branch), motion_frames=1)
            for branch in BRANCHES
        ])  # fmt: skip


def apart(found, wanted) -> float:
    """RMS of the difference over that of what is wanted."""
    return float((found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


def test_velocities_are_those_of_the_unpacked_weights(host, state, pack):
    for kind in pack.kinds:
        true = pack.write(place(host, f"{kind}.gguf"), state, kind)
        model = load(host, f"{kind}.gguf")
        found, given, latents = velocities(host, model)
        assert apart(found, expected(host, true, given, latents)) < HALF, kind
        if kind in NEAR:
            distance = apart(found, expected(host, state, given, latents))
            print(f"{kind}: {distance:.2%} from the weights it was made of")
            assert distance < NEAR[kind], kind
        packed = model.model.diffusion_model.blocks[0].ffn[0].weight
        assert packed.nbytes <= 2 * state["blocks.0.ffn.0.weight"].numel(), kind
        assert packed.dtype == (torch.float16 if kind == "F16" else torch.uint8)


def lora_of(rank=2):
    generator = torch.Generator().manual_seed(5)
    down, up = torch.randn(rank, 256, generator=generator), torch.randn(256, rank, generator=generator) * 0.1
    key = "diffusion_model.blocks.0.self_attn.q"
    return {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, up @ down


@pytest.mark.parametrize("loaded", ["all", "nothing", "some"])
def test_a_lora_is_applied_and_leaves_no_trace(host, state, pack, loaded):
    """Also where the host keeps the weights off the device and brings each when it is used."""
    import comfy.sd

    true = pack.write(place(host, "lora.gguf"), state)
    model = load(host, "lora.gguf")
    before, given, latents = velocities(host, model)
    lora, change = lora_of()
    patched = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0)[0]
    assert type(patched) is type(model)
    budget = {"all": None, "nothing": 1, "some": pack.some}[loaded]
    found = held_within(patched, budget, lambda: velocities(host, patched)[0])
    wanted = {**true, "blocks.0.self_attn.q.weight": true["blocks.0.self_attn.q.weight"] + change}
    assert apart(found, expected(host, wanted, given, latents)) < HALF
    assert apart(found, before) > 10 * HALF
    assert torch.equal(velocities(host, model)[0], before)


def test_jobs_tell_quantised_models_apart(host, state, pack):
    """A resumed job asks for the digest: of the packed numbers, the same before and after the host has loaded them."""
    import comfy.sd

    digest = host.module("nodes.host.digest").model_digest
    pack.write(place(host, "one.gguf"), state)
    changed = {**state, "blocks.1.ffn.0.weight": -state["blocks.1.ffn.0.weight"]}
    pack.write(place(host, "other.gguf"), changed)
    one, other = load(host, "one.gguf"), load(host, "other.gguf")
    patched = comfy.sd.load_lora_for_models(one, None, lora_of()[0], 1.0, 0)[0]
    first = digest(one)
    assert len({first, digest(other), digest(patched)}) == 3
    before = digest(patched)
    velocities(host, patched)
    assert digest(patched) == before
    velocities(host, one)
    assert digest(one) == first
    assert digest(load(host, "one.gguf")) == first


def test_it_is_rebuilt_for_another_device(host, state, pack):
    """What the host does for a second GPU, with the only device there is."""
    pack.write(place(host, "again.gguf"), state)
    model = load(host, "again.gguf")
    again = model.deepclone_multigpu(torch.device("cpu"))
    assert again.model is not model.model
    assert type(again) is type(model)
    assert torch.equal(velocities(host, again)[0], velocities(host, model)[0])


def test_files_of_another_kind_are_told(host, state, pack):
    def refused(name, message, weight_dtype="float32"):
        with pytest.raises(Exception, match=message) as caught:
            load(host, name, weight_dtype)
        assert "\n" not in str(caught.value).strip()

    pack.write(place(host, "deaf.gguf"), {k: v for k, v in state.items() if "audio" not in k and "norm4" not in k})
    refused("deaf.gguf", "a Wan model that hears nothing, not X-Dub's")
    pack.write(place(host, "flux.gguf"), {"double_blocks.0.img_attn.proj.weight": torch.randn(64, 64)})
    refused("flux.gguf", "another model, not X-Dub's")
    pack.write(place(host, "strange.gguf"), state, arch="x-dub")
    refused("strange.gguf", "'x-dub'.*architecture field for this model is wan")
    pack.write(place(host, "raw.gguf"), {k: v for k, v in state.items() if k != "patch_embedding.weight"})
    refused("raw.gguf", "fix_5d_tensors.py")
    pack.write(place(host, "half.gguf"), {k: v for k, v in state.items() if "blocks.1.ffn" not in k})
    refused("half.gguf", "4 tensors are missing")
    pack.write(place(host, "whole.gguf"), state)
    refused("whole.gguf", "quantised already.*take default", "fp8_e4m3fn")
    content = place(host, "whole.gguf").read_bytes()
    for length in (0, 3, 40, len(content) // 100, len(content) // 2, len(content) - 1000):
        place(host, "cut.gguf").write_bytes(content[:length])
        refused("cut.gguf", "is damaged or nothing that the installed ComfyUI-GGUF reads")


@pytest.mark.parametrize("arch", ["flux", "pig"])
def test_what_a_file_is_its_tensors_say(host, state, arch, monkeypatch):
    """The field names another picture model, or is one that the pack does not believe and asks the tensors instead."""
    import nodes

    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
    PACKS["ComfyUI-GGUF"].load(host)
    PACKS["ComfyUI-GGUF"].write(place(host, f"{arch}.gguf"), state, arch=arch)
    model = load(host, f"{arch}.gguf")
    assert set(model.model.diffusion_model.state_dict()) >= set(state)


def test_without_the_pack(host, state, monkeypatch):
    import nodes

    monkeypatch.delitem(nodes.NODE_CLASS_MAPPINGS, "UnetLoaderGGUF", raising=False)
    place(host, "lonely.gguf").write_bytes(b"GGUF")
    with pytest.raises(Exception, match=r"ComfyUI-GGUF \(city96\) reads: install it and its .* restart, or load"):
        load(host, "lonely.gguf")


def test_another_pack_of_the_same_node(host, state, monkeypatch):
    import nodes

    place(host, "lonely.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "UnetLoaderGGUF", type("UnetLoaderGGUF", (), {}))
    with pytest.raises(Exception, match=r"needs ComfyUI-GGUF by city96; .* has no GGMLOps"):
        load(host, "lonely.gguf")


def test_only_x_dub_s_loader_lists_gguf_files(host, state):
    deeper = place(host, "deeper")
    deeper.mkdir(exist_ok=True)
    (deeper / "Small.GGUF").write_bytes(b"GGUF")
    listed()
    options = host.node("OmniSyncLoadXDub").INPUT_TYPES()["required"]["model_name"][1]["options"]
    assert "deeper/Small.GGUF" in [name.replace("\\", "/") for name in options]
    folders = host.module("nodes.host.folders")
    assert not [name for name in folders.file_names("diffusion_models") if name.lower().endswith("gguf")]


def test_as_the_pack_s_own_tool_writes_it(host, state, tmp_path, monkeypatch):
    """`tools/convert.py`, of bfloat16 as X-Dub is published; it leaves the patches in a file beside."""
    import nodes

    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", dict(nodes.NODE_CLASS_MAPPINGS))
    PACKS["ComfyUI-GGUF"].load(host)
    published = {key: value.bfloat16().contiguous() for key, value in state.items()}
    source, raw, whole = tmp_path / "X-Dub_model.safetensors", tmp_path / "raw.gguf", place(host, "tools.gguf")
    save_file(published, source)
    command = [sys.executable, gguf_packs.REAL / "tools" / "convert.py", "--src", source, "--dst", raw]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    gguf_packs.put_back(raw, tmp_path / "fix_5d_tensors_wan.safetensors", whole)
    found, given, latents = velocities(host, load(host, "tools.gguf"))
    true = {key: value.float() for key, value in published.items()}
    assert apart(found, expected(host, true, given, latents)) < HALF
