"""What only a GPU can answer, in one command: iterations and memory at full size, samplers' overhead."""
