"""Weight files: reading, writing, key formats and (later) merges. torch and safetensors only."""
