"""The paper's equations, and what its guidance may be."""

CONVENTIONS = ("paper", "normalised", "floored")
"""The readings of the guidance formula, see `guidance.Guidance`."""
