"""A model learns the person in a clip: the clip is changed to other sounds, and the model learns the way back."""

from .run import Adapted, AdaptOptions, adapt, kept, learned_from

__all__ = ["AdaptOptions", "Adapted", "adapt", "kept", "learned_from"]
