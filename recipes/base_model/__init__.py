"""The recipe of the tiny base model: data, VAE, text encoder and U-Net, export, grid and caption retrieval."""
