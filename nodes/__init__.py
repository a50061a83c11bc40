"""The nodes of the pack: one list, in the order of the menu."""

from comfy_api.latest import ComfyExtension

from .host import folders

NODES: list = []


class OmniSync(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()

    async def get_node_list(self) -> list:
        return list(NODES)
