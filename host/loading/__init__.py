"""Files in and out: LoRAs, whole models, merges."""
