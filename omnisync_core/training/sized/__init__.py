"""OmniSync's transformer at any size, on encoded windows, from nothing, from a bundle or from public weights."""

from .run import train_sized

__all__ = ["train_sized"]
