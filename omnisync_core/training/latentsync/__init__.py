"""LatentSync's training (Li et al., arXiv 2412.09262): StableSyncNet, then the UNet in two stages.

`syncnet`, `perceptual` and `videomae` are the judges, `losses` what they say, `stages` which part learns from what,
`run` the loop from a TOML file to a file that `engines/latentsync` loads.
"""
