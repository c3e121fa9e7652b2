"""Our samplers beside diffusers' schedulers."""
