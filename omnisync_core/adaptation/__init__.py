"""A model learns the person in a clip: the clip is changed to other sounds, and the model learns the way back."""

from .run import AdaptOptions, adapt

__all__ = ["AdaptOptions", "adapt"]
