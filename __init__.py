"""OmniSync for ComfyUI: your video, your sound, the same pixels everywhere but the mouth.

Importing this package needs no host; the host calls `comfy_entrypoint`.
"""

WEB_DIRECTORY = "./web"
OLDEST_HOST = (0, 33)


async def comfy_entrypoint():
    """What the host calls once at its start. RuntimeError: the host is too old for the nodes' sockets."""
    _refuse_older_host()
    from .nodes import OmniSync

    return OmniSync()


def _refuse_older_host() -> None:
    from comfyui_version import __version__ as version

    found = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if found and found < OLDEST_HOST:
        oldest = ".".join(map(str, OLDEST_HOST))
        raise RuntimeError(f"OmniSync needs ComfyUI {oldest} or newer, this is {version}; update ComfyUI")
