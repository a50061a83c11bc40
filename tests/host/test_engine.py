"""OmniSync Engine: the bundled mini, two steps, through Lip Sync Video in the host."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.host.painted import FPS, pictures, shown, sound


@pytest.fixture(scope="module")
def handle(host):
    """The bundled mini as an ENGINE, two steps."""
    weights = {"w_peak": 2.0, "w_base": 1.0, "gamma": 1.5, "sigma_g": 0.7, "convention": "floored"}
    loaded = [["model", place] for place in range(4)]
    names = ("model", "vae", "clip", "audio_encoder")
    nodes = {
        "model": {
            "class_type": "OmniSyncLoadModel",
            "inputs": {"model_name": "omnisync_mini (bundled)", "weight_dtype": "float32"},
        },
        "engine": {
            "class_type": "OmniSyncEngine",
            "inputs": {
                **dict(zip(names, loaded, strict=True)), "text": "A person speaks.", "steps": 2, "tau": 0.92, **weights,
            },
        },
    }  # fmt: skip
    return host.run(nodes)["engine"][0]


def test_the_node_gives_the_frames_of_the_command_line(host, clip, sync, handle, tmp_path, left):
    """Same files, seed, type (float32 on CPU): one sample in 10,000 apart, by at most two 8-bit levels.

    The host's samplers speak of the clean prediction, the core of the velocity; turning one into the other rounds in
    the last bits of float32, which moves a sample over the edge between two levels here and there. Edit and reference
    are both kept with 8 bits, so that where the edit is their difference a level can become two.
    """
    audio = sound()
    host.module("omnisync_core.media").write_samples(tmp_path / "a.wav", audio["waveform"][0].numpy(), 44100)
    status = host.module("omnisync_core.cli").main([
        "lipsync", "--video", str(clip), "--audio", str(tmp_path / "a.wav"), "--output", str(tmp_path / "cli.mkv"),
        "--lossless", "--seed", "3", "--steps", "2", "--w-peak", "2", "--w-base", "1", "--device", "cpu",
        "--dtype", "float32",
    ])  # fmt: skip
    assert status == 0
    result, report = sync(clip, audio, handle)
    mine, theirs, source = shown(result), shown(tmp_path / "cli.mkv"), shown(clip)
    apart = np.abs(mine - theirs)
    assert np.abs(theirs - source).max() > 2, "nothing was edited"  # what is no mouth stays nearly as it is
    assert apart.max() <= 2
    assert (apart > 0).mean() < 1e-4
    assert "20 of 20 frames edited in 2 windows" in report
    assert "where the mouth is: looked for (20 frames)" in report
    assert left() == ([], [])


def test_cancelled_inside_a_step_it_goes_on_where_it_was(host, clip, sync, handle, left):
    import comfy.model_management as memory

    calls, stop_at = [], [None]

    def counted(apply, given):
        calls.append(1)
        if len(calls) == stop_at[0]:
            memory.interrupt_current_processing(True)
        return apply(given["input"], given["timestep"], **given["c"])

    model = handle.model.clone()
    model.set_model_unet_function_wrapper(counted)
    engine = type(handle)(model, handle.vae, handle.clip, handle.audio_encoder, handle.sampling)
    whole, _ = sync(clip, sound(), engine)
    through = len(calls)  # two windows of two steps, and two to guess how long it will take
    assert through == 6
    assert left() == ([], [])
    calls.clear()
    stop_at[0] = 5
    host.forget()
    with pytest.raises(Exception, match="interrupted"):
        sync(clip, sound(), engine)
    working, (kept,) = left()
    assert len(calls) == 5
    assert not working
    assert [path.name for path in kept.glob("*window*")] == ["window_00000.npz"]
    calls.clear()
    stop_at[0] = None
    resumed, _ = sync(clip, sound(), engine)
    assert len(calls) == 4
    assert left() == ([], [])
    np.testing.assert_array_equal(shown(resumed), shown(whole))


def edited(host, engine, seed=0):
    """Nine grey-to-white crops through an engine."""
    frames = np.linspace(0.3, 0.7, 9 * 96 * 96 * 3, dtype=np.float32).reshape(9, 96, 96, 3)
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    speech = engine.speech(Whole(wave)).at(np.arange(9) / FPS)
    mouth = np.tile(np.float32([0.5, 0.5, 0.4]), (9, 1))
    return host.edit_alone(engine, frames, speech, mouth, seed=seed).edited_THWC


class Whole:
    def __init__(self, wave_S):
        self._wave_S, self.duration = wave_S, len(wave_S) / 16000

    def read(self, start_s, stop_s):
        at = round(start_s * 16000) + np.arange(round((stop_s - start_s) * 16000))
        inside = (at >= 0) & (at < len(self._wave_S))
        return np.where(inside, self._wave_S[np.clip(at, 0, len(self._wave_S) - 1)], np.float32(0))


def test_vae_and_transformer_change_places_once_a_group(host, clip, sync, handle, monkeypatch):
    """What is asked of the host's memory, in order, over the windows of two groups (and an estimate before them)."""
    import comfy.model_management as memory

    load, wanted = memory.load_models_gpu, []

    def watch(models, *arguments, **options):
        wanted.extend(type(patcher.model).__name__ for patcher in models)
        return load(models, *arguments, **options)

    monkeypatch.setattr(memory, "load_models_gpu", watch)
    host.module("omnisync_core.media").write_pictures(clip, pictures(17 + 12 * 5).numpy(), Fraction(FPS), "yuv420p")
    _, report = sync(clip, sound(4), handle)
    assert "6 windows" in report
    used = [name for name in wanted if name in ("OmniSyncModel", "ChunkedVAE")]
    strokes = [name for name, _ in itertools.groupby(used)]
    assert strokes == ["ChunkedVAE", "OmniSyncModel"] * 3 + ["ChunkedVAE"]


def test_what_hangs_on_the_model_works_and_is_another_job(host, handle):
    """A patch (as a LoRA is one) and EasyCache."""
    host.load("nodes_easycache.py")
    plain = handle.open()
    before = edited(host, plain)
    key = next(name for name in handle.model.model_state_dict() if name.endswith("to_out.weight") or "ffn" in name)
    patched = handle.model.clone()
    weight = handle.model.model_state_dict()[key]
    patched.add_patches({key: ("diff", (torch.full_like(weight, 0.02),))})
    cached = host.node("EasyCache").execute(handle.model, 0.2, 0.15, 0.95, False).args[0]
    for model, changes in ((patched, True), (cached, False)):
        engine = type(handle)(model, handle.vae, handle.clip, handle.audio_encoder, handle.sampling).open()
        assert engine.fingerprint != plain.fingerprint
        assert (np.abs(edited(host, engine) - before).max() > 1e-5) == changes
    np.testing.assert_array_equal(edited(host, plain), before)


def test_pictures_in_half_precision_are_encoded(handle):
    """As the host gives them with --fp16-intermediates; their sum is beyond that type's largest number."""
    pictures = torch.ones(9, 96, 96, 3)
    assert (handle.vae.encode(pictures.half()) - handle.vae.encode(pictures)).abs().max() < 1e-2


def test_previews_are_shown_where_the_host_is_asked_for_them(host, handle, monkeypatch):
    import comfy.cli_args
    import comfy.utils

    engine = handle.open()
    edited(host, engine)
    assert engine.preview() is None
    monkeypatch.setattr(comfy.cli_args.args, "preview_method", comfy.cli_args.LatentPreviewMethod.Auto)
    engine = handle.open()
    edited(host, engine)
    kind, picture, longest = engine.preview()
    assert kind == "JPEG"
    assert picture.size[0] > 1
    assert longest > 0


def test_a_picture_is_shown_once_and_never_the_estimate_s(host, monkeypatch):
    import comfy.utils

    shown, latest = [], ["grey"]
    monkeypatch.setattr(
        comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id=None: shown.append(preview)
    )
    told = host.module("omnisync_core.job.report").Progress
    bar = host.module("nodes.host.progress").JobBar(lambda: latest[-1])
    for stage, picture in (
        ("reading", "grey"), ("planned", "grey"), ("editing", "grey"), ("editing", "window 0"), ("editing", "window 0"),
        ("writing", "window 1"), ("writing", "window 1"),
    ):  # fmt: skip
        latest.append(picture)
        bar(told(stage, 1, 2))
    assert [picture for picture in shown if picture] == ["window 0", "window 1"]


def test_one_bar_over_the_whole_job(host, clip, sync, monkeypatch):
    import comfy.utils

    counts = []
    monkeypatch.setattr(
        comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id=None: counts.append((value, total))
    )
    sync(clip, sound())
    assert {total for _, total in counts} == {1000}
    assert counts == sorted(counts)
    assert counts[-1][0] == 1000


def test_an_engine_counts_its_models_and_says_what_it_is(host, handle):
    assert len(handle.get_models()) == 4
    assert all(hasattr(patcher, "load_device") for patcher in handle.get_models())
    first, again = handle.open().fingerprint, handle.open().fingerprint
    assert first == again
    assert first["dtype"] == "torch.float32"
    assert first["steps"] == 2
    model = handle.model.clone()
    model.model_options["transformer_options"]["wrapper"] = sound
    other = type(handle)(model, handle.vae, handle.clip, handle.audio_encoder, handle.sampling).open().fingerprint
    assert {key for key in first if first[key] != other[key]} == {"options"}


def test_a_strength_a_replaced_part_and_the_kept_type_are_other_jobs(host, handle):
    """All compute in the same type with the same weights' file: unfinished windows of one are none of the other's."""

    def patched(strength):
        model = handle.model.clone()
        model.set_model_sampler_post_cfg_function(lambda given: given["denoised"] * strength)
        return model

    replaced = handle.model.clone()
    replaced.set_model_compute_dtype(torch.bfloat16)
    path = handle.model.cached_patcher_init[1][0]
    fewer_bits = host.module("nodes.host.models").load_transformer(path, "fp8_e4m3fn")
    models = [handle.model, patched(0.5), patched(0.5), patched(0.7), replaced, fewer_bits]
    marks = [
        type(handle)(model, handle.vae, handle.clip, handle.audio_encoder, handle.sampling).open().fingerprint
        for model in models
    ]
    assert len({one["dtype"] for one in marks}) == 1
    assert marks[1] == marks[2]
    assert all(marks.index(one) == at for at, one in enumerate(marks) if at != 2)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("vae", None, "no VAE"), ("clip", None, "no CLIP"), ("audio_encoder", None, "audio encoder is none"),
     ("model", torch.nn.Identity(), "not a transformer of OmniSync")],
)  # fmt: skip
def test_an_engine_of_parts_that_do_not_fit_is_refused(handle, name, value, says):
    parts = {key: getattr(handle, key) for key in ("model", "vae", "clip", "audio_encoder", "sampling")}
    with pytest.raises(ValueError, match=says):
        type(handle)(**{**parts, name: value})


def test_a_vae_of_another_stride_is_refused(handle):
    class Coarse:
        latent_channels = 16

        def temporal_compression_decode(self):
            return 8

        def spacial_compression_decode(self):
            return 32

    with pytest.raises(ValueError, match="8 frames, 32 pixels; the model needs 16 channels, 4 frames, 8 pixels"):
        type(handle)(handle.model, Coarse(), handle.clip, handle.audio_encoder, handle.sampling)
