"""Known few-step files, a row per published file: `loras` and `flow` hold LoRAs, `models` whole models."""

from .lookup import AUTO, METADATA_KEY, NAMES, ROWS, advice, from_metadata, from_name, named, of_file
from .settings import Settings, as_dict, fixed, up_to_8

__all__ = [
    "AUTO",
    "METADATA_KEY",
    "NAMES",
    "ROWS",
    "Settings",
    "advice",
    "as_dict",
    "fixed",
    "from_metadata",
    "from_name",
    "named",
    "of_file",
    "up_to_8",
]
