"""Sign Video: a result saved with Content Credentials, as the last step of a graph."""

from __future__ import annotations

from comfy_api.latest import Types, io, ui

from ..omnisync_core.errors import InputError
from ..omnisync_core.marks.options import CERTIFICATE, KEY, Marks


class SignVideoNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncSignVideo",
            display_name="Sign Video",
            category="OmniSync",
            description="Saves a video as MP4 with Content Credentials (C2PA): signed, that its mouth was edited, and "
            "from what. Take it instead of Save Video, which would drop them. Certificate and key are your own: the "
            f"host's environment names their files in {CERTIFICATE} and {KEY}.",
            search_aliases=["c2pa", "content credentials", "provenance", "watermark", "ai act", "save video"],
            is_output_node=True,
            inputs=[
                io.Video.Input("video", tooltip="The result, from Lip Sync Video."),
                io.Video.Input(
                    "source", optional=True,
                    tooltip="The video before the edit: it is named as what this was made from, and credentials that "
                    "it carries are kept.",
                ),
                io.String.Input(
                    "filename_prefix", default="video/signed", tooltip="Folder and name below the output folder."
                ),
            ],
            outputs=[
                io.Video.Output(tooltip="The signed file. Saving it again drops its credentials."),
                io.String.Output("report", display_name="report", tooltip="Who signed what."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, video, filename_prefix, source=None) -> io.NodeOutput:
        from ..omnisync_core.files import replacing
        from ..omnisync_core.marks.credentials import Signer, read_claim
        from .host import video as files

        credentials = Marks().credentials
        if credentials is None:
            raise InputError(f"no certificate: name the files in {CERTIFICATE} and {KEY} and start the host again")
        signer = Signer(*credentials)
        path, subfolder = files.saved_path(filename_prefix, ".mp4", *video.get_dimensions())
        with replacing(path, by_suffix=True) as part, files.working_folder() as folder:
            video.save_to(str(part), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.AUTO)
            made_from = None if source is None else files.open_video(source, folder, False).path
            signer.sign(part, path, made_from, {})
        claim = read_claim(path)
        report = f"{path.name}: signed by {claim.signer}; made from {', '.join(claim.sources) or 'what is not named'}"
        shown = ui.PreviewVideo([ui.SavedResult(path.name, subfolder, io.FolderType.output)])
        return io.NodeOutput(files.as_video(path), report, ui=shown)
