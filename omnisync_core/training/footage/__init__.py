"""From people's footage to a set that can be learned from: `prepare.py` is the page to read first."""

from .prepare import PrepareOptions, prepare

__all__ = ["PrepareOptions", "prepare"]
