"""X-Dub: its files, and the engine that runs them."""

from __future__ import annotations

from comfy_api.latest import io

from .host import folders
from .loaders import WHISPERS, weight_dtype_input, whisper_input
from .types import ENGINE_OUT, EngineType, finite, rarely_touched

DIT_FOLDER, DIT_SUFFIXES = "diffusion_models", (folders.SUFFIX, folders.GGUF)
WHISPER_SUFFIXES = ".pt", ".safetensors"
LICENCE = "Its authors publish X-Dub for academic research and technical demonstration only."


class LoadXDubNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLoadXDub",
            display_name="Load X-Dub Model",
            category="OmniSync/loaders",
            description="Loads X-Dub (Wan 2.2 5B that hears and sees the source) and the Whisper large-v2 it hears "
            f"with. {LICENCE}",
            search_aliases=["x-dub", "xdub", "lip sync model", "wan 2.2 lip sync", "visual dubbing"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=folders.file_names(DIT_FOLDER, suffixes=DIT_SUFFIXES),
                    tooltip="X-Dub_model.safetensors in models/diffusion_models, or a GGUF of it where ComfyUI-GGUF is "
                    "installed. The host's own loader takes it for a Wan that hears nothing; this one does not. "
                    f"{LICENCE}",
                ),
                whisper_input("large-v2.pt", WHISPER_SUFFIXES),
                weight_dtype_input(default="as in the file, or what this machine computes fastest"),
            ],
            outputs=[
                io.Model.Output(tooltip="X-Dub's network, for X-Dub Engine."),
                io.AudioEncoder.Output(display_name="whisper", tooltip="Its Whisper, for X-Dub Engine."),
            ],
        )

    @classmethod
    def execute(cls, model_name, whisper_name, weight_dtype="default") -> io.NodeOutput:
        from .host.engines.xdub import load_xdub

        dit = folders.file_path(DIT_FOLDER, model_name, DIT_SUFFIXES)
        whisper = folders.file_path(WHISPERS, whisper_name, WHISPER_SUFFIXES)
        return io.NodeOutput(*load_xdub(dit, whisper, weight_dtype))


class XDubEngineNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncXDubEngine",
            display_name="X-Dub Engine",
            category="OmniSync/engines",
            description="X-Dub for Lip Sync Video: real and drawn faces, any frame rate and length; only the mouth's "
            f"region of the video is changed. {LICENCE}",
            search_aliases=["x-dub", "xdub", "lip sync engine", "visual dubbing"],
            inputs=[
                io.Model.Input("model", tooltip="From Load X-Dub Model; LoRAs for Wan 2.2 5B may be on it."),
                io.Vae.Input("vae", tooltip="That of Wan 2.2 5B: Load VAE with wan2.2_vae.safetensors."),
                io.AudioEncoder.Input("whisper", tooltip="The second output of Load X-Dub Model."),
                io.AudioEncoder.Input("wav2vec2", tooltip="Load Audio Encoder with wav2vec2-base-960h."),
                io.Clip.Input(
                    "clip", optional=True,
                    tooltip="Needed once: Load CLIP with umt5_xxl, type wan. What it makes of the empty prompt is kept "
                    "in models/text_encoders; after that leave it out and save its memory.",
                ),
                io.Int.Input(
                    "steps", default=30, min=1, max=200,
                    tooltip="Denoising steps of each window. The authors take 25 to 50.",
                ),
                io.Float.Input(
                    "ref_cfg_scale", default=2.5, min=0.0, max=20.0, step=0.1,
                    tooltip="How closely the face is the source's. The authors' choice is 2.5.",
                ),
                io.Float.Input(
                    "audio_cfg_scale", default=10.0, min=0.0, max=50.0, step=0.5,
                    tooltip="How strongly the mouth follows the sound. The authors' choice is 10; it fades with noise.",
                ),
                *_drawing(),
            ],
            outputs=[EngineType.Output(display_name="engine", tooltip=ENGINE_OUT)],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, vae, whisper, wav2vec2, steps, ref_cfg_scale, audio_cfg_scale, clip=None, reuse=1,
        unguided_below=0.0, redraws=2, crop_size=512, window_frames=77,
    ) -> io.NodeOutput:  # fmt: skip
        from ..omnisync_core.engines.xdub.engine import Settings
        from .host.engines.xdub import XDubHandle

        settings = Settings(
            steps, finite("ref_cfg_scale", ref_cfg_scale, 0, 20), finite("audio_cfg_scale", audio_cfg_scale, 0, 50),
            reuse, finite("unguided_below", unguided_below, 0, 1), redraws, crop_size, window_frames,
        )  # fmt: skip
        return io.NodeOutput(XDubHandle(model, vae, whisper, wav2vec2, settings, clip))


def _drawing() -> list:
    """How a window is drawn, and how large it is."""
    return rarely_touched([
        io.Int.Input(
            "reuse", default=1, min=1, max=10,
            tooltip="Ask all three branches only every so many steps and one of them between. 1 is exact; 2 "
            "takes two thirds of the time, at a loss that nobody has measured yet.",
        ),
        io.Float.Input(
            "unguided_below", default=0.0, min=0.0, max=1.0, step=0.05,
            tooltip="Noise level under which one branch is asked alone, without guidance. 0 is exact.",
        ),
        io.Int.Input(
            "redraws", default=2, min=0, max=2,
            tooltip="How often a window that ended in noise is drawn again with another seed. The report says "
            "where that was.",
        ),
        io.Int.Input(
            "crop_size", default=512, min=64, max=1024, step=32,
            tooltip="Pixels of the square around the face. 512 is what the model was trained on.",
        ),
        io.Int.Input(
            "window_frames", default=77, min=9, max=161, step=4,
            tooltip="Frames of a window, 1 + 4k. 77 is what the model was trained on; less saves memory.",
        ),
    ])  # fmt: skip
