"""Training steps of every method on a U-Net of full size: measured memory beside the estimate."""
