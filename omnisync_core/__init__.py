"""OmniSync: mask-free lip sync with diffusion transformers. Runs without ComfyUI."""
