"""The recipe of the small style LoRA of the tiny base."""
