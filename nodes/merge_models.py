"""Whole models interpolated and saved."""

import json

from ..host import fingerprints
from ..host.loading import merging, models, saving
from ..host.names import plain_name
from .merge import DTYPES, LAMBDA, WEIGHT, parsed
from .widgets import NAME, OVERWRITE, choice, link, number, socket, yes_no

AS_LOADED = "as loaded"


class FewStepInterpolateModels:
    TITLE = "FewStep Interpolate Models"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two models of one architecture, between them or beyond, with the LoRAs on both. "
        "SwiftBrush v2 merges its two students with lambda 0.5."
    )
    SEARCH_ALIASES = ["merge models", "model merge", "checkpoint merge", "block merge", "swiftbrush"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    RETURN_TYPES = ("MODEL", "STRING")
    RETURN_NAMES = ("model", "recipe")
    OUTPUT_TOOLTIPS = (
        "A, changed: sampling settings and the like are A's.",
        "What it is made of, for FewStep Save Model.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        parts = {
            "input_blocks": "lambda of the U-Net's way down.",
            "middle_block": "lambda of its middle.",
            "output_blocks": "lambda of its way up.",
            "rest": "lambda of embeddings, first and last layer; of a whole DiT.",
        }
        return {
            "required": {
                "model_a": socket("MODEL", "Its text encoder and sampling settings are kept."),
                "model_b": socket("MODEL", "Another one of the same architecture."),
                "weight": LAMBDA,
                "per_block": yes_no("On: the four numbers below, not weight.", default=False),
                **{name: number(WEIGHT, said, default=0.5) for name, said in parts.items()},
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
    SEARCH_ALIASES = ["save checkpoint", "save unet", "bake lora"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "save"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("checkpoint_name",)
    OUTPUT_TOOLTIPS = ("The name that the loaders list it by.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "LoRAs and merges on it are baked in."),
                "name": NAME,
                "overwrite": OVERWRITE,
            },
            "optional": {
                "clip": socket("CLIP", "The text encoder that goes into the file."),
                "vae": socket("VAE", "The VAE that goes into the file."),
                "recipe": link("Of FewStep Interpolate Models; kept in the file's metadata."),
                "dtype": choice("Of every weight. fp16 and bf16 halve fp32.", [AS_LOADED, *DTYPES], default=AS_LOADED),
            },
        }

    def save(self, model, name, overwrite, clip=None, vae=None, recipe="", dtype=AS_LOADED):
        title = plain_name(name, "name")
        metadata = {"modelspec.title": title, "modelspec.implementation": "FewStep"}
        metadata["fewstep.base"] = fingerprints.of_model(model)
        if found := parsed(recipe):
            metadata["fewstep.merge"] = json.dumps(found)
        kind = DTYPES.get(dtype)
        return (saving.save_model(model, clip, vae, title, metadata, kind, overwrite, "FewStepSaveModel"),)


class FewStepInterpolateFiles:
    TITLE = "FewStep Interpolate Files"
    DESCRIPTION = "lambda A + (1 - lambda) B of two checkpoints or U-Nets, file to file, without loading either."
    SEARCH_ALIASES = ["merge checkpoints", "checkpoint merge", "merge models", "large model"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "merge"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("checkpoint_name",)
    OUTPUT_TOOLTIPS = ("The name that the loaders list it by.",)

    @classmethod
    def INPUT_TYPES(cls):
        others = "On: weights in one file alone are taken over. Off: an error."
        return {
            "required": {
                "checkpoint_a": choice(
                    "A .safetensors checkpoint or U-Net; the result has its precision.", models.names()
                ),
                "checkpoint_b": choice("Another one of its architecture.", models.names()),
                "weight": LAMBDA,
                "name": NAME,
                "keep_others": yes_no(others, default=False),
                "overwrite": OVERWRITE,
            }
        }

    def merge(self, checkpoint_a, checkpoint_b, weight, name, keep_others, overwrite):
        node = "FewStepInterpolateFiles"
        title = plain_name(name, "name")
        return (merging.interpolate_files(checkpoint_a, checkpoint_b, weight, title, keep_others, overwrite, node),)


NODES = (FewStepInterpolateModels, FewStepSaveModel, FewStepInterpolateFiles)
