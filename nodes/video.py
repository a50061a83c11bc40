"""Latents to pictures or to a video, in chunks."""

from __future__ import annotations

from comfy_api.latest import InputImpl, io

from ..omnisync_core.errors import InputError
from .types import fps_input, positive_fps, read_sound, rgb_frames, within


class ChunkedVideoDecodeNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncChunkedVideoDecode",
            display_name="Chunked Video Decode",
            category="OmniSync/video",
            description="Decodes video latents in chunks that together equal the whole. A video goes to a file as it "
            "is decoded, so that memory does not grow with its length.",
            search_aliases=["vae decode", "video decode", "tiled decode", "long video decode"],
            inputs=[
                io.Vae.Input("vae", tooltip="From Load OmniSync Model; another VAE decodes in one piece."),
                io.Latent.Input("samples", tooltip="The sampled latents."),
                fps_input("Frames per second of the video."),
                io.Audio.Input("audio", optional=True, tooltip="The sound of the video; cut where the pictures end."),
                io.Combo.Input(
                    "output", options=["video", "images"], default="video",
                    tooltip="Which of the two outputs is made. What hangs on the other one does not run.",
                ),
                io.Image.Input(
                    "source", optional=True,
                    tooltip="The pictures that were encoded. The bundled VAE looks at them: what does not change stays "
                    "as sharp as it was.",
                ),
            ],
            outputs=[
                io.Video.Output(tooltip="A temporary file; Save Video keeps it."),
                io.Image.Output(tooltip="The pictures, all in memory."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, fps=None):
        return within({"fps": (0.01, 1000)}, fps=fps)

    @classmethod
    def execute(cls, vae, samples, fps, output, audio=None, source=None) -> io.NodeOutput:
        import torch

        from .host.outputs import blocked, write_temporary_video
        from .host.vae import decode_pictures, looks_at_source

        if vae is None:
            raise InputError("there is no VAE: the checkpoint before has none; connect Load OmniSync Model")
        fps, sound = positive_fps(fps), None if audio is None else read_sound(audio)
        seen = rgb_frames(source, "source") if source is not None and looks_at_source(vae) else None
        pictures = decode_pictures(vae, samples["samples"], seen)
        if output == "images":
            return io.NodeOutput(blocked(), torch.cat(list(pictures)))
        path = write_temporary_video(pictures, fps, sound)
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), blocked())
