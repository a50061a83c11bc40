"""Pictures on a node that fails: the host shows a node's pictures only after it succeeded."""

from __future__ import annotations

from server import PromptServer


def show(node: str, shown: dict) -> None:
    """Send the browser what `node` (its id in the prompt) would show after a run; nobody listens: nothing."""
    server = PromptServer.instance
    if server is None or server.client_id is None:
        return
    message = {"node": node, "display_node": node, "output": shown, "prompt_id": server.last_prompt_id}
    server.send_sync("executed", message, server.client_id)
