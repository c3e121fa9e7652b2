"""Loading an SDXL-size LoRA beside the stock loader."""
