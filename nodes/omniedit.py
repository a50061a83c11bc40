"""OmniEdit over public weights: HuMo and LTX-2 as engines, and the parts for a graph of one's own."""

from __future__ import annotations

from fractions import Fraction

from comfy_api.latest import InputImpl, Types, io

from ..omnisync_core.diffusion import CONVENTIONS
from ..omnisync_core.diffusion.guidance import Guidance
from ..omnisync_core.engines.omniedit import NOISES
from .types import (
    ENGINE_OUT,
    GUIDANCE_NAMES,
    EngineType,
    Track,
    finite,
    fps_input,
    positive_fps,
    rarely_touched,
    rgb_frames,
    seed_input,
)

NOISE_TIP = (
    "How the noise of the next step is made. estimated: from the source and new noise, as OmniEdit's code. "
    "deterministic: from the source alone, as its paper. random: new each step, as FlowEdit."
)


class HuMoEngineNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncHuMoEngine",
            display_name="HuMo Engine",
            category="OmniSync/engines",
            description="Lip sync of real people with the public HuMo 1.7B or 17B, untrained, for Lip Sync Video.",
            search_aliases=["humo", "omniedit", "lip sync engine", "real person", "wan lip sync"],
            inputs=[
                io.Model.Input("model", tooltip="HuMo 1.7B or 17B from Load Diffusion Model; LoRAs may be on it."),
                io.Clip.Input("clip", tooltip="UMT5-XXL, from Load CLIP with type wan."),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE."),
                io.AudioEncoder.Input("audio_encoder", tooltip="Whisper large-v3, from Load Audio Encoder."),
                _prompt(),
                io.Image.Input(
                    "ref_image", optional=True,
                    tooltip="A picture of the face to keep to. Left open: the first frame of each part of the video.",
                ),
                *_trajectory(steps=20, start=6, end=16, cfg=4.5),
                *_focus(),
                *_window(crop_size=480, crop_step=16, window_frames=97, window_step=4, overlap_frames=13),
            ],
            outputs=[EngineType.Output(display_name="engine", tooltip=ENGINE_OUT)],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, clip, vae, audio_encoder, prompt, steps, start, end, cfg, noise_mode, ref_image=None,
        crop_size=480, window_frames=97, overlap_frames=13, crop_scale=4.5, **weights,
    ) -> io.NodeOutput:  # fmt: skip
        from .host.engines import humo

        humo.check_humo(model, vae, audio_encoder)
        settings = humo.HuMoSettings(
            steps, start, end, finite("cfg", cfg, 0, 100), noise_mode, _read_focus(weights),
            crop_size, window_frames, overlap_frames, finite("crop_scale", crop_scale, 3, 20),
        )  # fmt: skip
        reference = None if ref_image is None else rgb_frames(ref_image, "ref_image")[:1]
        return io.NodeOutput(
            humo.HuMoHandle(model, vae, audio_encoder, _text(clip, prompt), prompt, settings, reference)
        )


class LTXEngineNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLTXEngine",
            display_name="LTX Engine",
            category="OmniSync/engines",
            description="Lip sync to a sound of your own with LTX-2, untrained, for Lip Sync Video. The sound in the "
            "result is yours, untouched.",
            search_aliases=["ltx", "ltx-2", "omniedit", "lip sync engine", "own voice"],
            inputs=[
                *_ltx_models(),
                _prompt(),
                *_trajectory(steps=40, start=12, end=40, cfg=10.0),
                *_focus(),
                *_window(crop_size=512, crop_step=32, window_frames=121, window_step=8, overlap_frames=17),
            ],
            outputs=[EngineType.Output(display_name="engine", tooltip=ENGINE_OUT)],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, clip, vae, audio_vae=None, prompt="", steps=40, start=12, end=40, cfg=10.0, noise_mode="estimated",
        crop_size=512, window_frames=121, overlap_frames=17, crop_scale=4.5, **weights,
    ) -> io.NodeOutput:  # fmt: skip
        from .host.engines import ltx

        ltx.check_ltx(model, vae, audio_vae)
        settings = ltx.LTXSettings(
            steps, start, end, finite("cfg", cfg, 0, 100), noise_mode, _read_focus(weights),
            crop_size, window_frames, overlap_frames, finite("crop_scale", crop_scale, 3, 20),
        )  # fmt: skip
        return io.NodeOutput(ltx.LTXHandle(model, vae, audio_vae, _text(clip, prompt), prompt, settings))


class HuMoAudioNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncHuMoAudio",
            display_name="HuMo Audio Conditioning",
            category="OmniSync/conditioning",
            description="What HuMo hears, at the video's own frame rate and for any length. The negative hears the "
            "video's own sound, as OmniEdit does, or silence.",
            search_aliases=["humo audio", "whisper to humo", "audio embed"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="Prompt and reference of the new video."),
                io.Conditioning.Input("negative", tooltip="Prompt and reference of the video as it is."),
                io.AudioEncoderOutput.Input("audio_encoder_output", tooltip="The new sound, by Whisper large-v3."),
                io.AudioEncoderOutput.Input(
                    "source_audio", optional=True,
                    tooltip="The video's own sound, by Whisper large-v3. Left open: the video is silent.",
                ),
                fps_input("Frames per second of the video."),
                io.Int.Input(
                    "length", default=97, min=1, max=1_000_001, step=4,
                    tooltip="Frames of the video, 1 + 4k.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="With what HuMo hears."),
                io.Conditioning.Output(display_name="negative", tooltip="With silence."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, positive, negative, audio_encoder_output, fps, length, source_audio=None) -> io.NodeOutput:
        from .host.engines import humo

        fps = positive_fps(fps)
        heard = humo.audio_embed(audio_encoder_output, fps, length)
        own = heard * 0 if source_audio is None else humo.audio_embed(source_audio, fps, length)
        return io.NodeOutput(
            humo.with_values(positive, {"audio_embed": heard}), humo.with_values(negative, {"audio_embed": own})
        )


class OmniEditSamplerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncOmniEditSampler",
            display_name="OmniEdit Sampler",
            category="OmniSync/sampling",
            description="Edits the latent it is given, along OmniEdit's trajectory; needs the OmniEdit Guider, a whole "
            "schedule down to 0 and, for audio-video models, a latent of both.",
            search_aliases=["omniedit", "flowedit", "video edit sampler"],
            inputs=_trajectory(steps=None, start=6, end=16, cfg=4.5),
            outputs=[io.Sampler.Output(tooltip="For SamplerCustomAdvanced, with OmniEdit Guider.")],
        )

    @classmethod
    def execute(cls, start, end, cfg, noise_mode) -> io.NodeOutput:
        from .host import trajectory

        return io.NodeOutput(trajectory.OmniEditSampler(start, end, finite("cfg", cfg, 0, 100), noise_mode))


class OmniEditGuiderNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncOmniEditGuider",
            display_name="OmniEdit Guider",
            category="OmniSync/sampling",
            description="The two sides of an edit: the video as it should be and as it is. For the OmniEdit Sampler.",
            search_aliases=["omniedit", "flowedit", "guider"],
            inputs=[
                io.Model.Input("model", tooltip="A flow model: HuMo, Wan, LTX-2 and the like."),
                io.Conditioning.Input("target", tooltip="The video as it should be: new sound, or new words."),
                io.Conditioning.Input("source", tooltip="The video as it is: its own sound, or its own words."),
                Track.Input(
                    "mouth_track",
                    optional=True,
                    tooltip="Where the mouth is in the encoded pictures; needed to guide the mouth more than the rest.",
                ),
                *_focus(),
            ],
            outputs=[io.Guider.Output(tooltip="For SamplerCustomAdvanced, with OmniEdit Sampler.")],
        )

    @classmethod
    def execute(cls, model, target, source, mouth_track=None, **weights) -> io.NodeOutput:
        import torch

        from .host import trajectory

        guider = trajectory.OmniEditGuider(model)
        guider.set_conds(target, source)
        mouth_T3 = None if mouth_track is None else torch.as_tensor(mouth_track.mouth_N3)
        guider.set_focus(_read_focus(weights), mouth_T3)
        return io.NodeOutput(guider)


class LTXEditNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLTXEdit",
            display_name="LTX Audio-Visual Edit",
            category="OmniSync",
            description="Changes what is seen and heard in a short video by words, with LTX-2: the same clip, as the "
            "target prompt says it. Without a sound of its own the video gets one.",
            search_aliases=["ltx-2", "omniedit", "audio visual edit", "video to video prompt", "av edit"],
            inputs=[
                io.Video.Input("video", tooltip="The clip; its own sound is edited with it."),
                *_ltx_models(),
                io.String.Input("source_prompt", multiline=True, tooltip="What is seen and heard in the clip now."),
                io.String.Input("target_prompt", multiline=True, tooltip="What should be seen and heard instead."),
                seed_input("The same seed gives the same result."),
                *_trajectory(steps=40, start=12, end=40, cfg=10.0, advanced=True),
                io.Int.Input(
                    "max_frames", default=121, min=9, max=1025, step=8, advanced=True,
                    tooltip="Longer clips are refused: all frames are edited at once, and memory grows with them.",
                ),
            ],
            outputs=[io.Video.Output(tooltip="The edited video with its sound.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, video, model, clip, vae, source_prompt, target_prompt, seed, audio_vae=None, steps=40, start=12, end=40,
        cfg=10.0, noise_mode="estimated", max_frames=121,
    ) -> io.NodeOutput:  # fmt: skip
        from .host.engines import ltx

        ltx.check_ltx(model, vae, audio_vae)
        settings = ltx.LTXSettings(steps, start, end, finite("cfg", cfg, 0, 100), noise_mode)
        clip_frames = video.get_components()
        frames, fps = rgb_frames(clip_frames.images, "video"), float(clip_frames.frame_rate)
        ltx.check_length(len(frames), max_frames, fps)
        texts = _text(clip, target_prompt), _text(clip, source_prompt)
        pictures, sound = ltx.edit_video((model, vae, audio_vae), frames, clip_frames.audio, fps, texts, settings, seed)
        edited = Types.VideoComponents(images=pictures, frame_rate=Fraction(clip_frames.frame_rate), audio=sound)
        return io.NodeOutput(InputImpl.VideoFromComponents(edited))


def _prompt() -> io.Input:
    return io.String.Input(
        "prompt", default="A person is speaking.", multiline=True,
        tooltip="What the video shows; both the old and the new video are described by it.",
    )  # fmt: skip


def _ltx_models() -> list:
    return [
        io.Model.Input("model", tooltip="An LTX-2 audio-video model; LoRAs may be on it."),
        io.Clip.Input("clip", tooltip="Gemma 3 12B, from Load LTXV Audio Text Encoder."),
        io.Vae.Input("vae", tooltip="The video VAE of the LTX-2 checkpoint."),
        io.Vae.Input("audio_vae", tooltip="The audio VAE of the LTX-2 checkpoint, from Load LTXV Audio VAE."),
    ]


def _trajectory(*, steps: int | None, start: int, end: int, cfg: float, advanced: bool = False) -> list:
    """The widgets of a trajectory; without `steps` where a schedule is an input of its own."""
    counted = io.Int.Input(
        "steps", default=steps or 1, min=1, max=1000, advanced=advanced,
        tooltip="Steps of the whole schedule. Distilled models need 4 to 8, with cfg 1 and a start of 1 or 2.",
    )  # fmt: skip
    return [
        *([] if steps is None else [counted]),
        io.Int.Input(
            "start", default=start, min=0, max=1000, advanced=advanced,
            tooltip="Steps skipped at the noisy end: more keeps more of the source.",
        ),
        io.Int.Input(
            "end", default=end, min=0, max=1000, advanced=advanced,
            tooltip="The last step that is tied to the source; those after it sample freely. Steps or more ties all.",
        ),
        io.Float.Input(
            "cfg", default=cfg, min=0.0, max=100.0, step=0.1, advanced=advanced,
            tooltip="How strongly the target is preferred to the source. Up to 1 it is off, and steps are quicker.",
        ),
        io.Combo.Input("noise_mode", options=list(NOISES), default=NOISES[0], advanced=True, tooltip=NOISE_TIP),
    ]  # fmt: skip


def _focus() -> list:
    """The widgets of DS-CFG over a plain cfg."""
    usual = Guidance()
    return rarely_touched([
        io.Float.Input(
            "w_peak", default=0.0, min=0.0, max=100.0, step=0.1,
            tooltip="Strength at the mouth; 0 is cfg. w_peak = w_base = cfg is plain cfg everywhere.",
        ),
        io.Float.Input(
            "w_base", default=0.0, min=0.0, max=100.0, step=0.1,
            tooltip="Strength far from the mouth; 0 is cfg.",
        ),
        io.Float.Input(
            "gamma", default=0.0, min=0.0, max=10.0, step=0.1,
            tooltip="How fast the strength fades with the noise: its weight follows sigma ^ gamma. 0 does not fade.",
        ),
        io.Float.Input(
            "sigma_g", default=usual.sigma_g, min=0.05, max=10.0, step=0.05,
            tooltip="Width of the Gaussian around the mouth, in mouth widths.",
        ),
        io.Combo.Input(
            "convention", options=list(CONVENTIONS), default=usual.convention,
            tooltip="floored: fades to the target's own prediction. normalised: fades to the source's. paper: as "
            "printed, up to w_peak squared at the mouth.",
        ),
    ])  # fmt: skip


def _window(*, crop_size: int, crop_step: int, window_frames: int, window_step: int, overlap_frames: int) -> list:
    """The widgets of how a video is cut for an engine."""
    return rarely_touched([
        io.Int.Input(
            "crop_size", default=crop_size, min=64, max=1280, step=crop_step,
            tooltip="Pixels of the square around the face that is edited. Less is quicker and needs less memory.",
        ),
        io.Int.Input(
            "window_frames", default=window_frames, min=1 + window_step, max=1 + 40 * window_step, step=window_step,
            tooltip="Frames edited at once. Less needs less memory.",
        ),
        io.Int.Input(
            "overlap_frames", default=overlap_frames, min=0, max=97,
            tooltip="Frames that two windows share: the later one goes on from the earlier one's.",
        ),
        io.Float.Input(
            "crop_scale", default=4.5, min=3.0, max=20.0, step=0.5,
            tooltip="Side of the square that is edited, in mouth widths. 4.5: the face with some room, most pixels for "
            "the mouth. 7 to 10: head and shoulders, calmer at hair and neck. More: nearly the whole frame, as "
            "OmniEdit's own program edits; the mouth gets few pixels.",
        ),
    ])  # fmt: skip


def _read_focus(weights: dict):
    """The core's weights over cfg, from the widgets."""
    from .host import trajectory

    given = {name: weights[name] for name in GUIDANCE_NAMES if name in weights}
    return trajectory.Focus(
        **{name: value for name, value in given.items() if value or name not in ("w_peak", "w_base")}
    )


def _text(clip, prompt: str) -> list:
    return clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
