"""The adapter to ComfyUI: the only package that imports `comfy`, `folder_paths`, `latent_preview` or `nodes`."""
