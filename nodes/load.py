"""A few-step LoRA together with the sampler, sigmas and guidance it was made for."""

from ..host import folders, loras, sampling
from ..samplers.unit_start import with_unit_start
from ..weights import families, keys
from .sample import METHODS, sampler_options

LEAST_MATCH = 0.9


class FewStepLoadLora:
    TITLE = "FewStep Load LoRA"
    DESCRIPTION = (
        "Loads a few-step LoRA and returns the sampler, sigmas and cfg it was made for: from its metadata when it was "
        "trained by FewStep, else by its known name (LCM-LoRA, Hyper-SD, TCD, Lightning, PCM, DMD2)."
    )
    CATEGORY = "FewStep/loaders"
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL", "CLIP", "SAMPLER", "SIGMAS", "FLOAT", "STRING")
    RETURN_NAMES = ("model", "clip", "sampler", "sigmas", "cfg", "report")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "lora_name": (folders.names("loras"), {"tooltip": "A .safetensors file in a loras folder."}),
                "strength": (
                    "FLOAT",
                    {"default": 1.0, "min": -4.0, "max": 4.0, "step": 0.05, "tooltip": "1 is as made."},
                ),
                "steps": ("INT", {"default": 4, "min": 1, "max": 50, "tooltip": "Most files are made for 1-8."}),
                "denoise": (
                    "FLOAT",
                    {"default": 1.0, "min": 0.01, "max": 1.0, "step": 0.01, "tooltip": "Below 1 for image to image."},
                ),
            },
            "optional": {
                "clip": ("CLIP", {"tooltip": "Only for files that carry text encoder weights too."}),
                "negative_prompt": (
                    "STRING",
                    {"default": "", "tooltip": "For the report only: says when it will have no effect."},
                ),
                "lora_file": (
                    "STRING",
                    {"forceInput": True, "tooltip": "A name from FewStep Distill, instead of lora_name."},
                ),
                "family": (
                    families.NAMES,
                    {"default": families.AUTO, "tooltip": "auto: by metadata, then by name. Else: as that family."},
                ),
                "allow_partial": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Load a file of which less than 90 % fits, instead of an error."},
                ),
            },
        }

    def load(
        self,
        model,
        lora_name,
        strength,
        steps,
        denoise,
        clip=None,
        negative_prompt="",
        lora_file="",
        family=families.AUTO,
        allow_partial=False,
    ):
        name = lora_file or lora_name
        tensors, metadata = loras.read(name, "FewStepLoadLora")
        fit(name, tensors, model)
        chosen = settings_of(name, metadata) if family == families.AUTO else families.named(family, steps)
        settings = chosen or unknown(name)
        found = check_match(name, loras.match(model, clip, tensors), allow_partial)
        try:
            loras.check_shapes(model, tensors)
            patched, patched_clip = loras.apply(model, clip, tensors, strength)
            sigmas = loras.sigmas_of(patched.get_model_object("model_sampling"), settings, steps, denoise)
        except ValueError as error:
            raise ValueError(f'FewStepLoadLora: "{name}": {error}') from error
        function, options = METHODS[settings.sampler][0], sampler_options(settings.sampler, settings.eta, None)
        # a file with a list of its own was trained on pure noise at its first point, also below the top
        own_start = denoise == 1 and str(steps) in settings.timesteps
        sampler = sampling.as_sampler(with_unit_start(function) if own_start else function, options)
        notes = families.advice(settings, steps, strength, negative_prompt)
        points = settings.sigmas.get(str(steps)) or loras.timesteps_of(settings, steps, denoise)
        text = report(name, settings, found, points, loras.renamed(name), notes)
        return (patched, patched_clip, sampler, sigmas, settings.cfg, text)


def settings_of(name: str, metadata: dict, node: str = "FewStepLoadLora") -> families.Settings | None:
    """From our metadata, else by the known name; None for other files."""
    try:
        return families.from_metadata(metadata) or families.from_name(name)
    except ValueError as error:
        raise ValueError(f'{node}: "{name}": {error}') from error


def fit(name: str, tensors: dict, model) -> None:
    """Refuse a LoRA of another base by its text context."""
    theirs, ours = keys.context_width(tensors), loras.model_context(model)
    if theirs is not None and ours is not None and theirs != ours:
        raise ValueError(
            f'FewStepLoadLora: "{name}" holds {loras.family(theirs)} weights (context {theirs}) but the model is '
            f"{loras.family(ours)} ({ours}). Load a checkpoint of {loras.family(theirs)}, or another LoRA."
        )


def check_match(name: str, found: loras.Match, allow_partial: bool = False) -> loras.Match:
    if not found.matched and not found.unmatched:
        raise ValueError(
            f'FewStepLoadLora: "{name}" holds no weights of the diffusion model, so it cannot make it few-step. '
            "Use the stock LoraLoader for a text encoder's LoRA."
        )
    if not found.matched or (found.share < LEAST_MATCH and not allow_partial):
        example = found.unmatched[0]
        count = len(found.matched) + len(found.unmatched)
        raise ValueError(
            f'FewStepLoadLora: only {len(found.matched)} of {count} modules of "{name}" fit the model, not {example}. '
            "It belongs to another kind of model."
        )
    return found


def unknown(name: str):
    raise ValueError(
        f'FewStepLoadLora: "{name}" has no FewStep metadata and no known name, so its sampler cannot be told. '
        "Rename it after its family (such as lcm-lora or Hyper-SD15-4steps-lora), or use the stock LoraLoader with "
        "FewStepSampler and FewStepSchedule."
    )


def report(name: str, settings, found: loras.Match, points: list, renamed: int, notes: list[str]) -> str:
    lines = [
        f"{name}: {settings.family}",
        f"sampler {settings.sampler}" + (f", eta {settings.eta:g}" if settings.sampler == "tcd" else ""),
        f"{'sigmas' if settings.sigmas else 'timesteps'} {', '.join(f'{point:g}' for point in points)}",
        f"cfg {settings.cfg:g}",
        f"{len(found.matched)} modules matched, {len(found.unmatched)} not"
        + (f" ({', '.join(found.unmatched[:3])} ...)" if found.unmatched else ""),
        f"{renamed} keys renamed to kohya's form",
        *([f"source: {settings.source}"] if settings.source else []),
        *(f"Note: {note}" for note in notes),
    ]
    return "\n".join(lines)


NODES = (FewStepLoadLora,)
