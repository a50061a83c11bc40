"""LatentSync: its files, and the engine that runs them."""

from __future__ import annotations

from dataclasses import astuple

from comfy_api.latest import io

from ..omnisync_core.diffusion.guidance import Guidance
from .host import folders
from .loaders import WHISPERS, weight_dtype_input, whisper_input
from .types import ENGINE_OUT, GUIDANCE_NAMES, EngineType, finite, guidance_inputs, rarely_touched, read_guidance

UNET_FOLDER = "diffusion_models"
SUFFIXES = ".safetensors", ".pt"
RESOLUTIONS = ["256", "512"]


class LoadLatentSyncNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLoadLatentSync",
            display_name="Load LatentSync",
            category="OmniSync/loaders",
            description="Loads LatentSync 1.5 or 1.6 and the Whisper it hears with, as published (.pt) or as "
            "safetensors. The files of 1.5 and 1.6 look the same: say which it is by the resolution.",
            search_aliases=["latentsync", "lip sync model", "latentsync_unet", "lipsync loader"],
            inputs=[
                io.Combo.Input(
                    "unet_name",
                    options=folders.file_names(UNET_FOLDER, suffixes=SUFFIXES),
                    tooltip="latentsync_unet.pt, or a safetensors copy of it, in models/diffusion_models.",
                ),
                whisper_input("tiny.pt", SUFFIXES),
                io.Combo.Input(
                    "resolution",
                    options=RESOLUTIONS,
                    default="512",
                    tooltip="512 for LatentSync 1.6, 256 for 1.5: what the file was trained on. The other blurs.",
                ),
                weight_dtype_input(),
            ],
            outputs=[
                io.Model.Output(tooltip="LatentSync's network, for LatentSync Engine."),
                io.AudioEncoder.Output(tooltip="Its Whisper, for LatentSync Engine."),
            ],
        )

    @classmethod
    def execute(cls, unet_name, whisper_name, resolution, weight_dtype="default") -> io.NodeOutput:
        from .host.engines.latentsync import load_latentsync

        unet = folders.file_path(UNET_FOLDER, unet_name, SUFFIXES)
        whisper = folders.file_path(WHISPERS, whisper_name, SUFFIXES)
        return io.NodeOutput(*load_latentsync(unet, whisper, int(resolution), weight_dtype))


class LatentSyncEngineNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncLatentSyncEngine",
            display_name="LatentSync Engine",
            category="OmniSync/engines",
            description="LatentSync for Lip Sync Video: any frame rate and length, frames without a face pass "
            "through, and only the mouth's region of the video is changed.",
            search_aliases=["latentsync", "lip sync engine", "lipsync"],
            inputs=[
                io.Model.Input("model", tooltip="From Load LatentSync; LoRAs may be on it."),
                io.Vae.Input(
                    "vae", tooltip="Stable Diffusion 1.5's: Load VAE with sd-vae-ft-mse (vae-ft-mse-840000-ema-pruned)."
                ),
                io.AudioEncoder.Input("audio_encoder", tooltip="The second output of Load LatentSync."),
                io.Int.Input(
                    "steps", default=20, min=1, max=200,
                    tooltip="Denoising steps of each window. 20 is the authors' choice; more is finer and slower.",
                ),
                io.Float.Input(
                    "cfg", default=1.5, min=0.0, max=20.0, step=0.1,
                    tooltip="How strongly the mouth follows the sound. Up to 1 it is off and steps are twice as quick; "
                    "above 2 the mouth may distort.",
                ),
                io.Int.Input(
                    "reuse", default=3, min=1, max=10,
                    tooltip="Compute the whole network every so many steps and only its last layer between. 3 is the "
                    "authors' choice, more than twice as quick; 1 computes every step in full.",
                ),
                io.Boolean.Input(
                    "ds_cfg", default=False, advanced=True, optional=True,
                    tooltip="Guide by the widgets below instead of cfg: more at the mouth and early, less elsewhere.",
                ),
                *rarely_touched(guidance_inputs()),
                io.Int.Input(
                    "overlap_frames", default=4, min=0, max=12, advanced=True, optional=True,
                    tooltip="Frames that two windows share: the later one goes on from the earlier one's.",
                ),
            ],
            outputs=[EngineType.Output(display_name="engine", tooltip=ENGINE_OUT)],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, vae, audio_encoder, steps, cfg, reuse, ds_cfg=False, overlap_frames=4, **weights
    ) -> io.NodeOutput:
        from ..omnisync_core.engines.latentsync.engine import Settings
        from .host.engines.latentsync import LatentSyncHandle, check_model

        check_model(model)
        usual = dict(zip(GUIDANCE_NAMES, astuple(Guidance()), strict=True))
        guidance = read_guidance(**{**usual, **weights}) if ds_cfg else None
        cfg = finite("cfg", cfg, 0, 100)
        settings = Settings(model.model.resolution, steps, cfg, reuse, guidance, overlap_frames)
        return io.NodeOutput(LatentSyncHandle(model, vae, audio_encoder, settings))
