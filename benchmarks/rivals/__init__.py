"""An iteration of ours beside the published consistency-distillation LoRA recipe, written with diffusers' networks."""
