"""Lip Sync Video, Lip Sync Images, Speaker and OmniSync Engine: the core's job through the host.

Most of it is plumbing and runs with an engine that paints; what the models do runs with the bundled mini, two steps.
"""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

SECONDS, FPS, SIDES = 0.8, 25, (96, 80)
OPTIONS = {
    "seed": 3, "length_policy": "source", "silence_policy": "close", "preview_seconds": 0.0, "resume": True,
    "lossless": True,
}  # fmt: skip


def painter(host, stop=None):
    """An ENGINE whose mouths are as red as the sound is loud. `stop` is called at every step."""
    protocol = host.module("omnisync_core.engines.protocol")

    class Painter(protocol.WindowEngine):
        spec = host.module("omnisync_core.spec").VideoSpec(crop_size=24, window_frames=9, overlap_frames=5)
        fingerprint = {"engine": "painter"}  # noqa: RUF012
        windows = 0

        def get_models(self):
            return []

        def open(self):
            return self

        def speech(self, wave):
            return Loudness(wave)

        def edit_window(self, excerpt, anchor, on_step):
            for step in range(2):
                if stop:
                    stop(self.windows)
                on_step(step + 1, 2)
            self.windows += 1
            edited = excerpt.frames_THWC.copy()
            for frame, (x, y, width) in enumerate(excerpt.mouth_T3 * edited.shape[1]):
                box = np.s_[round(y - width / 3) : round(y + width / 3), round(x - width / 2) : round(x + width / 2)]
                edited[frame][box] = [min(1, 0.2 + 3 * excerpt.speech_TND[frame, 0, 0]), 0.1, 0.1]
            if anchor is not None:
                edited[: len(anchor)] = anchor
            return protocol.Edit(edited, excerpt.frames_THWC)

    return Painter()


class Loudness:
    def __init__(self, wave):
        self._wave = wave

    def at(self, times_T):
        rms = [np.sqrt(np.mean(np.square(self._wave.read(time - 0.02, time + 0.02)))) for time in times_T]
        return np.array(rms, np.float32)[:, None, None]


def pictures(frames=20, sides=SIDES):
    """Smooth drifting blobs (N, H, W, 3), whole 8-bit levels."""
    y, x = torch.meshgrid(torch.arange(float(sides[0])), torch.arange(float(sides[1])), indexing="ij")
    hue = torch.tensor([3.0, 5.0, 7.0])
    batch = [torch.sin((x[..., None] + 0.5 * n) * hue / 60) * torch.cos(y[..., None] * hue / 50) for n in range(frames)]
    return ((0.5 + 0.4 * torch.stack(batch)) * 255).round() / 255


def sound(seconds=SECONDS, start=0.0, stop=9.0, rate=44100, channels=2):
    time = torch.arange(round(seconds * rate)) / rate
    wave = torch.randn(channels, len(time), generator=torch.Generator().manual_seed(0)).clamp(-3, 3) * 0.1
    return {"waveform": (wave * ((time >= start) & (time < stop)))[None], "sample_rate": rate}


def shown(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def track(host, count, x=0.5, frame_size=SIDES[::-1]):
    return host.module("omnisync_core.mouth").MouthTrack(
        np.arange(count) / FPS, np.tile([[x, 0.6]], (count, 1)), np.full(count, 0.2), np.ones(count, np.float32),
        np.full(count, "user"), np.zeros(count, int), frame_size,
    )  # fmt: skip


@pytest.fixture
def clip(host, tmp_path):
    path = tmp_path / "clip.mp4"
    host.module("omnisync_core.media").write_pictures(path, pictures().numpy(), Fraction(FPS), "yuv420p")
    return path


@pytest.fixture
def sync(host, monkeypatch):
    """Run Lip Sync Video; its result's path and report. `engine` None paints. Without a track the finder, which sees
    no mouth on these pictures, sees one in the middle."""
    face = host.module("omnisync_core.mouth.detect").Face

    def middle(rgb, *_):
        height, width = rgb.shape[:2]
        return [face(0.5 * width, 0.62 * height, 0.2 * min(width, height), 0.0, 0.9, "finder")]

    monkeypatch.setattr(host.module("omnisync_core.mouth.tracking"), "find_mouths", middle)

    def run(video, audio=None, engine=None, mouth_track=None, speakers=None, **options):
        from comfy_api.latest import InputImpl

        video = InputImpl.VideoFromFile(str(video)) if isinstance(video, (str, Path)) else video
        given = [video, audio, engine or painter(host), mouth_track, speakers]
        names = ("video", "audio", "engine", "mouth_track", "speakers")
        linked = {name: ["given", place] for place, name in enumerate(names) if given[place] is not None}
        node = {"class_type": "OmniSyncLipSyncVideo", "inputs": {**linked, **OPTIONS, **options}}
        result, report = host.run({"given": host.give(*given), "sync": node})["sync"]
        return result.get_stream_source(), report

    return run


@pytest.fixture
def left(host):
    """What jobs left behind in the host's folders: working folders and unfinished windows."""

    def names():
        import folder_paths

        temp, unfinished = Path(folder_paths.get_temp_directory()), host.output / "omnisync_unfinished"
        kept = [path.name for path in temp.iterdir() if path.is_dir()] if temp.exists() else []
        return kept, sorted(unfinished.iterdir()) if unfinished.exists() else []

    return names


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


# -- the whole way with the bundled model


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


# -- videos in and out


def test_a_file_in_a_file_out(host, clip, sync, left):
    result, report = sync(clip, sound(), mouth_track=track(host, 20))
    before, after = shown(clip), shown(result)
    assert result.endswith(".mkv")
    assert Path(result).parent == host.base / "temp"
    assert (before[:, :30] == after[:, :30]).all()
    assert np.abs(after - before).max() > 20
    assert "where the mouth is: your point or mask (20 frames)" in report
    assert left() == ([], [])
    assert "the whole" not in report
    assert "give Save Video the format mkv" in report
    plain, report = sync(clip, sound(), lossless=False)
    assert "mkv" not in report
    with av.open(plain) as container:
        video, heard = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, video.pix_fmt, heard.codec_context.sample_rate) == ("h264", "yuv420p", 44100)


def test_a_trimmed_video_is_synced_as_trimmed(clip, sync):
    from comfy_api.latest import InputImpl

    result, report = sync(InputImpl.VideoFromFile(str(clip), start_time=0.2, duration=0.4), sound())
    np.testing.assert_array_equal(shown(result)[:, :20], shown(clip)[5:15, :20])
    assert "10 of 10 frames" in report
    assert "the sound lasts 0.80 s, the result 0.40 s: it is cut" not in report


def test_a_video_in_memory_is_read_as_a_file(clip, sync):
    import io

    from comfy_api.latest import InputImpl

    result, _ = sync(InputImpl.VideoFromFile(io.BytesIO(clip.read_bytes())), sound())
    again, _ = sync(clip, sound())
    np.testing.assert_array_equal(shown(result), shown(again))


def components(images, rate=FPS, bit_depth=8):
    from comfy_api.latest import InputImpl, Types

    parts = Types.VideoComponents(images=images, audio=None, frame_rate=Fraction(rate))
    return InputImpl.VideoFromComponents(parts, bit_depth=bit_depth)


def test_tensors_are_taken_as_they_are(host, sync):
    batch = pictures()
    result, _ = sync(components(batch), sound(), mouth_track=track(host, 20))
    after = shown(result) / 255
    assert np.abs(after[:, :30] - batch[:, :30].numpy()).max() < 1e-6
    assert np.abs(after - batch.numpy()).max() > 0.1
    plain, _ = sync(components(batch, bit_depth=10), sound(), lossless=False)
    with av.open(plain) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p10le"


@pytest.mark.parametrize(
    "images",
    [pictures(1), pictures(2, (1, 1)), pictures(3, (17, 31)), torch.cat([pictures(2), torch.rand(2, 96, 80, 1)], -1),
     pictures(2) + 0.001],
    ids=["one frame", "one pixel", "odd", "RGBA", "16 bits"],
)  # fmt: skip
@pytest.mark.parametrize("lossless", [True, False])
def test_odd_batches(sync, images, lossless):
    result, report = sync(components(images), sound(), lossless=lossless)
    assert shown(result).shape == (*images.shape[:3], 3)
    assert f"of {len(images)} frames edited" in report


# -- speakers


def speakers(host, *roles):
    chain = None
    for audio, mouth_track in roles:
        node = {"class_type": "OmniSyncSpeaker", "inputs": {"audio": ["given", 0], "mouth_track": ["given", 1]}}
        node["inputs"].update({"speakers": ["given", 2]} if chain else {})
        chain = host.run({"given": host.give(audio, mouth_track, chain), "who": node})["who"][0]
    return chain


def test_two_speakers_in_one_job(host, clip, sync):
    first, second = (sound(stop=0.3), track(host, 20, 0.25)), (sound(start=0.5, channels=1), track(host, 20, 0.75))
    result, report = sync(clip, speakers=speakers(host, first, second))
    red = shown(result)[:, 54:60, :, 0]
    left, right = red[:, :, 18:22].mean((1, 2)), red[:, :, 58:62].mean((1, 2))
    assert left[:6].mean() > left[12:].mean() + 20
    assert right[14:].mean() > right[:10].mean() + 20
    assert "your point or mask (40 frames)" in report
    with av.open(result) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).reshape(-1, 2)
    wanted = first[0]["waveform"][0] + second[0]["waveform"][0]
    np.testing.assert_allclose(heard[: wanted.shape[1]], wanted.T / max(1, wanted.abs().max()), atol=1e-6)
    with pytest.raises(Exception, match="either mouth_track or speakers"):
        sync(clip, mouth_track=first[1], speakers=speakers(host, first))


def test_sounds_are_mixed(host):
    mixed = host.module("omnisync_core.audio").mixed
    low, loud, late = (np.full((1, 800), 0.5, np.float32), np.full((2, 1600), 0.75, np.float32), np.ones((6, 9)))
    wave, rate = mixed([(low, 8000), (loud, 8000)])
    assert rate == 8000
    assert wave.shape == (2, 1600)
    np.testing.assert_allclose(wave[:, [0, 1000]], [[1, 0.6], [1, 0.6]], rtol=1e-6)
    assert mixed([(low, 8000), (late, 48000)])[0].shape == (6, 4800)


# -- settings


def test_the_first_seconds_alone(clip, sync):
    result, report = sync(clip, sound(), preview_seconds=0.2)
    assert len(shown(result)) == 5
    assert "5 of 5 frames" in report
    assert "the whole: 20 frames (0.8 s of video)" in report
    assert "of disk" in report


def test_a_job_can_be_started_over(host, clip, sync, left):
    def stop(windows):
        if windows == 2:
            raise RuntimeError("power cut")

    with pytest.raises(Exception, match="power cut"):
        sync(clip, sound(), painter(host, stop))
    assert len(left()[1]) == 1
    with pytest.raises(Exception, match="power cut"):
        sync(clip, sound(), painter(host, stop), seed=4)
    assert len(left()[1]) == 2
    going_on, anew = painter(host), painter(host)
    sync(clip, sound(), going_on)
    sync(clip, sound(), anew, seed=4, resume=False)
    assert (going_on.windows, anew.windows) == (2, 4)
    assert left() == ([], [])


# -- pictures


@pytest.fixture
def sync_images(host):
    def run(images, audio=None, fps=25.0, mouth_track=None, **options):
        given = host.give(images, audio or sound(), painter(host), mouth_track)
        linked = {"images": ["given", 0], "audio": ["given", 1], "engine": ["given", 2], "fps": fps, "seed": 3}
        linked.update({"mouth_track": ["given", 3]} if mouth_track is not None else {})
        node = {"class_type": "OmniSyncLipSyncImages", "inputs": {**linked, **options}}
        return host.run({"given": given, "sync": node})["sync"]

    return run


@pytest.mark.parametrize("extra", [0, 1], ids=["RGB", "RGBA"])
@pytest.mark.parametrize("fine", [0, 0.0007], ids=["8 bits", "more"])
def test_a_batch_keeps_what_is_not_edited_to_the_bit(host, sync_images, left, extra, fine):
    batch = torch.cat([pictures() + fine, torch.rand(20, *SIDES, extra)], -1)
    audio = sound()
    images, heard, mask, report = sync_images(batch, audio, mouth_track=track(host, 20))
    assert images.shape == batch.shape
    assert mask.shape == batch.shape[:3]
    assert heard is audio
    assert report.startswith("20 of 20 frames edited")
    assert 0.01 < mask.mean() < 0.3
    assert set(mask.unique().tolist()) == {0, 1}
    assert torch.equal(images[mask == 0], batch[mask == 0])
    assert torch.equal(images[..., 3:], batch[..., 3:])
    assert (images - batch).abs().max() > 0.1
    assert left() == ([], [])


def test_a_batch_is_what_its_video_is(host, clip, sync, sync_images):
    images, *_ = sync_images(pictures(), mouth_track=track(host, 20))
    result, _ = sync(components(pictures()), sound(), mouth_track=track(host, 20))
    np.testing.assert_array_equal((images * 255).round().numpy(), shown(result))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"preview_seconds": 0.4}, [*range(10)]),
        ({"length_policy": "cut_off"}, [*range(20)]),
        ({"length_policy": "bounce"}, [*range(20), *range(18, 7, -1)]),
        ({"length_policy": "freeze", "silence_policy": "keep"}, [*range(20), *[19] * 11]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_batch_of_another_length_shows_the_pictures_that_its_video_would(host, sync_images, options, shown):
    batch, long = pictures(), sound(seconds=31 / 25)
    images, _, mask, report = sync_images(batch, long, mouth_track=track(host, 20), **options)
    assert len(images) == len(mask) == len(shown)
    assert f"of {len(shown)} frames" in report
    assert torch.equal(images[mask == 0], batch[shown][mask == 0])
    assert mask.any()


# -- what cannot be used


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"audio": {"waveform": torch.zeros(1, 2, 0), "sample_rate": 44100}}, "sound is empty"),
        ({"audio": {"waveform": torch.full((1, 1, 9), torch.nan), "sample_rate": 44100}}, "NaN"),
        ({"audio": None}, "no sound is connected"),
        ({"preview_seconds": float("nan")}, "preview_seconds must be a number"),
        ({"preview_seconds": -1.0}, "preview_seconds"),
        ({"seed": -1}, "seed"),
        ({"length_policy": "pingpong"}, "length_policy"),
    ],
    ids=["empty", "nan", "no sound", "nan seconds", "negative", "seed", "policy"],
)  # fmt: skip
def test_what_a_video_cannot_be_synced_with(clip, sync, left, change, says):
    with pytest.raises(Exception, match=says):
        sync(clip, **{"audio": sound(), **change})
    assert left() == ([], [])


def test_frames_and_tracks_that_cannot_be_used(host, clip, sync, sync_images, left):
    with pytest.raises(Exception, match="track has 19 frames, the video 20"):
        sync(clip, sound(), mouth_track=track(host, 19))
    broken = pictures(3)
    broken[1, 5, 5] = torch.nan
    for bad in (lambda: sync(components(broken), sound()), lambda: sync_images(broken)):
        with pytest.raises(Exception, match="frame 1 holds"):
            bad()
    with pytest.raises(Exception, match="fps"):
        sync_images(pictures(3), fps=0.0)
    with pytest.raises(Exception, match="at least one picture"):
        sync_images(torch.zeros(0, 8, 8, 3))
    with pytest.raises(Exception, match="must be a VIDEO"):
        sync(pictures(3), sound())
    assert left() == ([], [])
