"""A few-step LoRA together with the sampler, sigmas and guidance it was made for."""

from ..host import folders
from ..host.loading import loras
from ..host.loading.sampler import points_of, sampler_for
from ..host.loading.stock_sampling import with_shift
from ..weights import bases, families

LEAST_MATCH = 0.9


class FewStepLoadLora:
    TITLE = "FewStep Load LoRA"
    DESCRIPTION = (
        "Loads a few-step LoRA and returns the sampler, sigmas and cfg it was made for: from its metadata when it was "
        "trained by FewStep, else by its known name (LCM-LoRA, Hyper-SD, Lightning, Qwen-Image-Lightning, Wan and LTX "
        "ones and others: every file of the host's official templates)."
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
        chosen = settings_of(name, metadata) if family == families.AUTO else families.named(family, steps, name)
        try:
            theirs, ours = bases.base_of(tensors), loras.base_of(model)
            bases.refuse_other_base(theirs, ours, allow_partial)
            settings = chosen or unknown()
            tensors = loras.fitted(model, tensors)
            found = check_match(loras.match(model, clip, tensors), allow_partial, theirs if theirs == ours else None)
            loras.check_shapes(model, tensors)
            patched, patched_clip = loras.apply(model, clip, tensors, strength)
            patched = with_shift(patched, settings)
            sampler, sigmas = sampler_for(patched, settings, steps, denoise)
        except ValueError as error:
            raise ValueError(f'FewStepLoadLora: "{name}": {error}') from error
        notes = families.advice(settings, steps, strength, negative_prompt)
        points = points_of(settings, sigmas, steps, denoise)
        text = report(name, settings, found, points, loras.converted(name, tensors), notes)
        return (patched, patched_clip, sampler, sigmas, settings.cfg, text)


def settings_of(name: str, metadata: dict, node: str = "FewStepLoadLora") -> families.Settings | None:
    """From our metadata, else by the known name; None for other files."""
    try:
        return families.from_metadata(metadata) or families.from_name(name)
    except ValueError as error:
        raise ValueError(f'{node}: "{name}": {error}') from error


def check_match(found: loras.Match, allow_partial: bool = False, same_base: str | None = None) -> loras.Match:
    """Raise ValueError when less than 90 % of the network's tensors fit; same_base: what file and model both are."""
    if not sum(found.tensors):
        raise ValueError(
            "holds no weights of the diffusion model, so it cannot make it few-step. "
            "Use the stock LoraLoader for a text encoder's LoRA."
        )
    if not found.matched or (found.share < LEAST_MATCH and not allow_partial):
        why = (
            f"Both are {same_base}, so this ComfyUI may not know the file's names: a newer one may."
            if same_base and not found.matched
            else "It belongs to another kind of model."
        )
        raise ValueError(
            f"only {found.tensors[0]} of {sum(found.tensors)} tensors fit the model, not {found.unmatched[0]}. {why}"
        )
    return found


def unknown():
    raise ValueError(
        "has no FewStep metadata and no known name, so its sampler cannot be told. "
        "Rename it after its family (such as lcm-lora or Hyper-SD15-4steps-lora), or use the stock LoraLoader with "
        "FewStepSampler and FewStepSchedule."
    )


def report(name: str, settings, found: loras.Match, points: str, converted: int, notes: list[str]) -> str:
    lines = [
        f"{name}: {settings.family}",
        f"sampler {settings.sampler}" + (f", eta {settings.eta:g}" if settings.sampler == "tcd" else ""),
        points,
        f"cfg {settings.cfg:g}",
        f"{found.tensors[0]} tensors matched, {found.tensors[1]} not"
        + (f" ({', '.join(found.unmatched[:3])} ...)" if found.unmatched else ""),
        f"{converted} tensors converted to the host's names",
        *text_encoder(found.text),
        *([f"source: {settings.source}"] if settings.source else []),
        *(f"Note: {note}" for note in notes),
    ]
    return "\n".join(lines)


def text_encoder(tensors: tuple[int, int]) -> list[str]:
    """A line on the text encoder's part, where the file has one."""
    matched, lost = tensors
    if not matched and not lost:
        return []
    if not matched:
        return [f"Note: {lost} tensors are for the text encoder; connect clip to load them."]
    return [f"text encoder: {matched} tensors matched, {lost} not"]


NODES = (FewStepLoadLora,)
