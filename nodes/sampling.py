"""Noise, guidance and sampling of the graph of parts."""

from __future__ import annotations

from comfy_api.latest import io

from .types import GUIDANCE_BOUNDS, GUIDANCE_NAMES, Track, checked, guidance_inputs, read_guidance, seed_input, within

TRACK_TIP = (
    "Where the mouth is in the encoded pictures, from Mouth Track. Left open (or a track of pictures of another size): "
    "the middle, where Mouth Crop puts it."
)
NOISE_BOUNDS = {"tau": (0, 1)}


class ProgressiveNoiseNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncProgressiveNoise",
            display_name="Progressive Noise Init",
            category="OmniSync/sampling",
            description="Starts sampling from the source instead of from pure noise: x = (1 - tau) source + tau noise. "
            "Gives what a sampler needs for that: noise, levels from tau to 0, and the source's latents.",
            search_aliases=["progressive noise", "noise init", "sdedit", "video to video noise", "sigmas"],
            inputs=[
                io.Model.Input("model", tooltip="The model that will sample; a flow model."),
                io.Latent.Input("latent", tooltip="The encoded source: VAE Encode of the pictures."),
                io.Float.Input(
                    "tau", default=0.0, min=0.0, max=1.0, step=0.01,
                    tooltip="The noise to start from. 1 forgets the source, less keeps more of its pose and its lips. "
                    "0: as the model was made for.",
                ),
                io.Int.Input(
                    "steps", default=0, min=0, max=1000,
                    tooltip="Steps from tau to 0. 0: as many as the model was made for.",
                ),
                io.Combo.Input(
                    "spacing", options=["linear", "shifted"], default="linear", advanced=True,
                    tooltip="linear: even levels. shifted: bent as the model's own schedule is.",
                ),
                seed_input("The same seed gives the same result, and that of Lip Sync Video's first window."),
            ],
            outputs=[
                io.Noise.Output(tooltip="The noise to start with."),
                io.Sigmas.Output(tooltip="From tau down to 0."),
                io.Latent.Output(tooltip="The source's latents, to start at and to condition on."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, tau=None):
        return within(NOISE_BOUNDS, tau=tau)

    @classmethod
    def execute(cls, model, latent, tau, steps, spacing, seed) -> io.NodeOutput:
        from .host import guider

        checked(NOISE_BOUNDS, tau=tau)
        sigmas = guider.progressive_sigmas(model, tau, steps, spacing)
        return io.NodeOutput(guider.ProgressiveNoise(seed), sigmas, latent)


class DSCFGGuiderNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncDSCFGGuider",
            display_name="DS-CFG Guider",
            category="OmniSync/sampling",
            description="Guidance that is strong at the mouth and early, weak elsewhere and late; for any sampler that "
            "takes a guider.",
            search_aliases=["ds-cfg", "guider", "spatial cfg", "dynamic cfg", "lip sync guidance"],
            inputs=[*_conditions(), *guidance_inputs(own=True)],
            outputs=[io.Guider.Output(tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def validate_inputs(cls, w_peak=None, w_base=None, gamma=None, sigma_g=None):
        return within(GUIDANCE_BOUNDS, w_peak=w_peak, w_base=w_base, gamma=gamma, sigma_g=sigma_g)

    @classmethod
    def execute(cls, model, positive, negative, mouth_track=None, **weights) -> io.NodeOutput:
        return io.NodeOutput(_guider(model, positive, negative, mouth_track, weights))


class DSCFGSamplerNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncDSCFGSampler",
            display_name="DS-CFG Sampler",
            category="OmniSync/sampling",
            description="Samples with DS-CFG: the guider and Euler's method in one node.",
            search_aliases=["ds-cfg", "sampler", "lip sync sampler", "ksampler"],
            inputs=[
                *_conditions(),
                *guidance_inputs(own=True),
                io.Noise.Input("noise", tooltip="From Progressive Noise Init."),
                io.Sigmas.Input("sigmas", tooltip="From Progressive Noise Init."),
                io.Latent.Input("latent", tooltip="The encoded source, from Progressive Noise Init."),
            ],
            outputs=[io.Latent.Output(tooltip="The edited latents.")],
        )

    @classmethod
    def validate_inputs(cls, w_peak=None, w_base=None, gamma=None, sigma_g=None):
        return within(GUIDANCE_BOUNDS, w_peak=w_peak, w_base=w_base, gamma=gamma, sigma_g=sigma_g)

    @classmethod
    def execute(cls, model, positive, negative, noise, sigmas, latent, mouth_track=None, **weights) -> io.NodeOutput:
        from .host import guider

        chosen = _guider(model, positive, negative, mouth_track, weights)
        return io.NodeOutput(guider.sample(chosen, noise, sigmas, latent))


class DSCFGPatchNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncDSCFGPatch",
            display_name="DS-CFG Patch",
            category="OmniSync/sampling",
            description="Puts DS-CFG on a model, so that every sampler of ComfyUI uses it; the sampler's own cfg is "
            "then ignored.",
            search_aliases=["ds-cfg", "model patch", "spatial cfg", "cfg patch"],
            inputs=[
                io.Model.Input("model", tooltip="Any flow model."),
                Track.Input("mouth_track", optional=True, tooltip=TRACK_TIP),
                *guidance_inputs(own=True),
            ],
            outputs=[io.Model.Output(tooltip="For KSampler and its kin.")],
        )

    @classmethod
    def validate_inputs(cls, w_peak=None, w_base=None, gamma=None, sigma_g=None):
        return within(GUIDANCE_BOUNDS, w_peak=w_peak, w_base=w_base, gamma=gamma, sigma_g=sigma_g)

    @classmethod
    def execute(cls, model, mouth_track=None, **weights) -> io.NodeOutput:
        from .host import guider

        return io.NodeOutput(guider.patch_guidance(model, _guidance(model, weights), mouth_track))


def _conditions() -> list:
    return [
        io.Model.Input("model", tooltip="The model that samples; a flow model."),
        io.Conditioning.Input("positive", tooltip="From Encode Prompt T5."),
        io.Conditioning.Input("negative", tooltip="From Encode Prompt T5."),
        Track.Input("mouth_track", optional=True, tooltip=TRACK_TIP),
    ]


def _guider(model, positive, negative, mouth_track, weights: dict):
    from .host import guider

    chosen = guider.DSCFGGuider(model)
    chosen.set_conds(positive, negative)
    chosen.set_guidance(_guidance(model, weights), mouth_track)
    return chosen


def _guidance(model, weights: dict):
    from .host.models import sampling_of

    checked(GUIDANCE_BOUNDS, **{name: weights[name] for name in GUIDANCE_BOUNDS})
    return read_guidance(*(weights[name] for name in GUIDANCE_NAMES), sampling_of(model).guidance)
