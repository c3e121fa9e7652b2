"""The distance that judges few-step students of the tiny base model."""
