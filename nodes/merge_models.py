"""Whole models interpolated and saved."""

import json

from ..host import fingerprints
from ..host.loading import merging, models, saving
from ..host.names import plain_name
from .merge import DTYPES, parsed

AS_LOADED = "as loaded"
WEIGHT = {"default": 0.5, "min": -10.0, "max": 10.0, "step": 0.01}


class FewStepInterpolateModels:
    TITLE = "FewStep Interpolate Models"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two models of one architecture, between them or beyond, with the LoRAs on both. "
        "SwiftBrush v2 merges its two students with lambda 0.5."
    )
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    RETURN_TYPES = ("MODEL", "STRING")
    RETURN_NAMES = ("model", "recipe")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model_a": ("MODEL", {"tooltip": "Its text encoder and sampling settings are kept."}),
                "model_b": ("MODEL", {"tooltip": "Another one of the same architecture."}),
                "weight": ("FLOAT", {**WEIGHT, "tooltip": "lambda: 1 is A, 0 is B; below 0 and above 1 goes beyond."}),
                "per_block": ("BOOLEAN", {"default": False, "tooltip": "On: the four numbers below, not weight."}),
                "input_blocks": ("FLOAT", {**WEIGHT, "tooltip": "lambda of the U-Net's way down."}),
                "middle_block": ("FLOAT", {**WEIGHT, "tooltip": "lambda of its middle."}),
                "output_blocks": ("FLOAT", {**WEIGHT, "tooltip": "lambda of its way up."}),
                "rest": ("FLOAT", {**WEIGHT, "tooltip": "lambda of embeddings, first and last layer; all of a DiT."}),
            }
        }

    def merge(self, model_a, model_b, weight, per_block, **groups):
        weights = groups if per_block else dict.fromkeys(groups, weight)
        merged = merging.interpolated(model_a, model_b, weights, "FewStepInterpolateModels")
        parents = [saving.parent(model) for model in (model_a, model_b)]
        recipe = {"formula": "lambda A + (1 - lambda) B", "lambda": weights, "parents": parents}
        return merged, json.dumps({"recipe": recipe})


class FewStepSaveModel:
    TITLE = "FewStep Save Model"
    DESCRIPTION = (
        "Writes a model with everything on it, and its recipe: as checkpoints/fewstep/<name>.safetensors, or, without "
        "CLIP and VAE, as a U-Net under diffusion_models/fewstep/."
    )
    CATEGORY = "FewStep/merging"
    FUNCTION = "save"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("checkpoint_name",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "LoRAs and merges on it are baked in."}),
                "name": ("STRING", {"default": "merged", "tooltip": "The file's name, without folder and ending."}),
                "overwrite": ("BOOLEAN", {"default": False, "tooltip": "Off: a file of that name is an error."}),
            },
            "optional": {
                "clip": ("CLIP", {"tooltip": "The text encoder that goes into the file."}),
                "vae": ("VAE", {"tooltip": "The VAE that goes into the file."}),
                "recipe": ("STRING", {"forceInput": True, "tooltip": "Kept in the file's metadata."}),
                "dtype": ([AS_LOADED, *DTYPES], {"tooltip": "Precision of the file. fp16 and bf16 halve fp32."}),
            },
        }

    def save(self, model, name, overwrite, clip=None, vae=None, recipe="", dtype=AS_LOADED):
        title = plain_name(name, "FewStepSaveModel: name")
        metadata = {"modelspec.title": title, "modelspec.implementation": "FewStep"}
        metadata["fewstep.base"] = fingerprints.of_model(model)
        if found := parsed(recipe, "FewStepSaveModel"):
            metadata["fewstep.merge"] = json.dumps(found)
        kind = DTYPES.get(dtype)
        return (saving.save_model(model, clip, vae, title, metadata, kind, overwrite, "FewStepSaveModel"),)


class FewStepInterpolateFiles:
    TITLE = "FewStep Interpolate Files"
    DESCRIPTION = "lambda A + (1 - lambda) B of two checkpoints or U-Nets, file to file, without loading either."
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("checkpoint_name",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "checkpoint_a": (models.names(), {"tooltip": "A .safetensors checkpoint or U-Net."}),
                "checkpoint_b": (models.names(), {"tooltip": "Another one of its architecture."}),
                "weight": ("FLOAT", {**WEIGHT, "tooltip": "lambda: 1 is A, 0 is B; below 0 and above 1 goes beyond."}),
                "name": ("STRING", {"default": "merged", "tooltip": "The file's name, without folder and ending."}),
                "keep_others": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "On: weights in one file alone are taken over. Off: an error."},
                ),
                "overwrite": ("BOOLEAN", {"default": False, "tooltip": "Off: a file of that name is an error."}),
            }
        }

    def merge(self, checkpoint_a, checkpoint_b, weight, name, keep_others, overwrite):
        node = "FewStepInterpolateFiles"
        title = plain_name(name, f"{node}: name")
        return (merging.interpolate_files(checkpoint_a, checkpoint_b, weight, title, keep_others, overwrite, node),)


NODES = (FewStepInterpolateModels, FewStepSaveModel, FewStepInterpolateFiles)
