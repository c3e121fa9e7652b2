"""Peak memory of one base with LoRAs beside separate networks."""
