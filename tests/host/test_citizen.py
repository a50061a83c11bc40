"""The model as a citizen of the host: loaded by it, patched by it, cut into windows, compiled, cached and let go."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch

LORA = "diffusion_model.blocks.0.ffn.0"


@pytest.fixture(autouse=True)
def as_nodes_run():
    with torch.inference_mode():
        yield


@pytest.fixture
def job(host, parts):
    return Job(host, host.run(parts()))


class Job:
    """The results of a run of the parts, to be sampled again with another model or guider."""

    def __init__(self, host, outputs: dict):
        self.host, self.guiders = host, host.module("nodes.host.guider")
        self.model, self.vae, self.clip, self.audio = outputs["model"]
        self.positive, self.negative = outputs["prompt"]
        self.noise, self.sigmas, self.latent = outputs["noise"]
        self.usual = host.module("omnisync_core.diffusion.guidance").Guidance()
        self.steady = replace(self.usual, gamma=0.0)

    def sample(self, model=None, guidance=None, guider=None, sigmas=None) -> torch.Tensor:
        if guider is None:
            guider = self.guiders.DSCFGGuider(model or self.model)
            guider.set_guidance(guidance or self.usual)
        guider.set_conds(self.positive, self.negative)
        latent = self.guiders.sample(guider, self.noise, self.sigmas if sigmas is None else sigmas, self.latent)
        return latent["samples"]

    def watched(self, model=None) -> tuple:
        """A clone of the model and a list that gets a row of every forward: batch, speech frames, whether loaded."""
        import comfy.model_management
        from comfy.patcher_extension import WrappersMP

        seen, model = [], (model or self.model).clone()

        def watch(executor, x, timestep, context, source, speech, options):
            loaded = [one.model.model for one in comfy.model_management.current_loaded_models if one.model]
            seen.append((len(x), x.shape[2], speech.shape[1], any(one is model.model for one in loaded)))
            return executor(x, timestep, context, source, speech, options)

        model.add_wrapper(WrappersMP.DIFFUSION_MODEL, watch)
        return model, seen


def test_both_branches_in_one_forward_of_a_loaded_model(job):
    model, seen = job.watched()
    job.sample(model)
    assert seen == [(2, 3, 3, True)] * 2


def test_even_weights_are_the_host_s_guider(job):
    from comfy.samplers import CFGGuider

    for cfg in (1.0, 3.0):
        theirs = CFGGuider(job.model)
        theirs.set_cfg(cfg)
        ours = job.sample(guidance=replace(job.steady, w_peak=cfg, w_base=cfg))
        assert torch.equal(ours, job.sample(guider=theirs))


def test_a_weight_of_one_skips_the_unconditional_pass_but_not_beside_easycache(job):
    job.host.load("nodes_easycache.py")
    off = replace(job.usual, w_peak=1.0, w_base=1.0)
    model, seen = job.watched()
    job.sample(model, off)
    assert [row[0] for row in seen] == [1, 1]
    cached = job.host.node("EasyCache").execute(job.model, 0.2, 0.15, 0.95, False).args[0]
    model, seen = job.watched(cached)
    job.sample(model, off, sigmas=job.guiders.progressive_sigmas(job.model, 0.92, 8, "linear"))
    assert {row[0] for row in seen} == {2}
    assert len(seen) < 8


def test_another_node_s_cfg_is_the_peak(job):
    job.host.load("nodes_custom_sampler.py")
    overridden = job.host.node("CFGOverride").execute(job.model, 2.0, 0.0, 1.0).args[0]
    assert torch.equal(job.sample(overridden, replace(job.usual, w_peak=5.0)), job.sample())


def test_the_weight_depends_on_the_place(job):
    left, right = (torch.tensor([[x, 0.5, 0.3]]) for x in (0.2, 0.8))
    weights = [job.guiders.weight_map(job.usual, torch.tensor([0.9]), mouth, (1, 16, 3, 12, 12)) for mouth in
               (left, right)]  # fmt: skip
    torch.testing.assert_close(weights[0], weights[1].flip(-1))
    assert weights[0].shape == (3, 12, 12)
    assert weights[0][0, 6, 2] > weights[0][0, 6, 9]


def test_a_track_of_whole_pictures_says_nothing_inside_a_crop(job, parts):
    """Its pictures are of another size than the latents': the mouth is in the crop's middle."""
    middle = job.guiders.weight_map(job.usual, torch.tensor([0.9]), None, (1, 16, 3, 12, 12))
    away = replace(parts.track, frame_size=(1280, 720))
    assert torch.equal(job.guiders.weight_map(job.usual, torch.tensor([0.9]), away, (1, 16, 3, 12, 12)), middle)
    own = job.guiders.weight_map(job.usual, torch.tensor([0.9]), parts.track, (1, 16, 3, 12, 12))
    assert not torch.equal(own, middle)


def test_a_lora_changes_the_result_and_leaves_no_trace(job):
    import comfy.sd

    digest = job.host.module("nodes.host.digest").model_digest
    plain, before = job.sample(), digest(job.model)
    weight = job.model.model.diffusion_model.blocks[0].ffn[0].weight
    random = torch.Generator().manual_seed(3)
    lora = {
        f"{LORA}.lora_A.weight": torch.randn(4, weight.shape[1], generator=random) * 0.1,
        f"{LORA}.lora_B.weight": torch.randn(weight.shape[0], 4, generator=random) * 0.1,
    }
    patched, _ = comfy.sd.load_lora_for_models(job.model, None, lora, 1.0, 0.0)
    assert (job.sample(patched) - plain).abs().max() > 0.01
    assert torch.equal(job.sample(), plain)
    assert digest(patched) != before == digest(job.model)


def test_context_windows_cut_speech_and_source_with_the_latents(job, parts):
    job.host.load("nodes_context_windows.py")
    windows = job.host.node("ContextWindowsManual").execute
    cut = windows(job.model, 2, 1, "standard_static", 1, False, "pyramid", 2, False).args[0]
    model, seen = job.watched(cut)
    job.sample(model)
    assert len(seen) == 4
    assert all(frames == heard and loaded for _, frames, heard, loaded in seen)
    assert {frames for _, frames, _, _ in seen} == {2, 3}  # 3: a window that does not begin the clip, with its anchor


def test_the_host_s_attention_override_is_asked(job):
    import comfy.ldm.modules.attention as attention

    asked, model = [], job.model.clone()

    def override(usual, *args, **kwargs):
        asked.append(1)
        return attention.attention_pytorch(*args, **kwargs)

    model.model_options["transformer_options"]["optimized_attention_override"] = override
    torch.testing.assert_close(job.sample(model), job.sample(), atol=1e-3, rtol=0)
    assert len(asked) == 2 * 3 * model.model.diffusion_model.config.depth


def plain_attention(usual, *args, **kwargs):
    """torch's own; what the host takes on a CPU asks the system for its free memory, which no graph can hold."""
    import comfy.ldm.modules.attention as attention

    return attention.attention_pytorch(*args, **kwargs)


def test_it_compiles_without_a_break(job):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = job.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = plain_attention
    expected = job.sample(model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    set_torch_compile_wrapper(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(job.sample(model), expected, atol=1e-4, rtol=0)
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    torch._dynamo.reset()


@pytest.mark.parametrize(("kind", "atol"), [("fp8_e4m3fn", 0.5), ("bfloat16", 0.1), ("float16", 1e-4)])
def test_weights_of_fewer_bits(job, kind, atol, monkeypatch):
    """Without overshoot, which enlarges what the bits lose, too."""
    models, folders = job.host.module("nodes.host.models"), job.host.module("nodes.host.folders")
    small = models.load_transformer(str(folders.BUNDLED), kind)
    assert small.model.diffusion_model.dtype == job.host.module("nodes.host.weights").WEIGHT_DTYPES[kind]
    for model in (small, job.model):
        network = model.model.diffusion_model
        monkeypatch.setattr(network, "config", replace(network.config, overshoot=0.0))
    torch.testing.assert_close(job.sample(small), job.sample(), atol=atol, rtol=0)


def test_what_the_host_rebuilds_has_the_same_weights(job):
    for patcher in (job.model, job.vae.patcher):
        build, arguments = patcher.cached_patcher_init
        again = build(*arguments, disable_dynamic=True)
        expected, found = patcher.model.state_dict(), again.model.state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_the_vae_has_every_attribute_that_the_host_s_has(job):
    import comfy.sd

    assert vars(comfy.sd.VAE(sd={})).keys() - vars(job.vae).keys() == set()


def test_nothing_of_ours_stays_after_unloading(host, parts):
    import comfy.model_management as memory

    model, vae, clip, audio = host.run(parts())["model"]
    networks = [weakref.ref(one) for one in (model.model, vae.first_stage_model, clip.cond_stage_model, audio.model)]
    loaded = [one.model for one in memory.current_loaded_models if one.model is not None]  # a dead one has none
    assert {type(one.model).__name__ for one in loaded} >= {"OmniSyncModel", "ChunkedVAE"}
    del model, vae, clip, audio, loaded
    host.forget()
    memory.unload_all_models()
    gc.collect()
    assert not memory.current_loaded_models
    assert [one() for one in networks] == [None] * 4
