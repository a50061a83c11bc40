"""What knows the host's insides: the only folder that imports `comfy.*`, `folder_paths` and the like."""
