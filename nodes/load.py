"""A few-step LoRA together with the sampler, sigmas and guidance it was made for."""

from ..host import folders
from ..host.loading import loras
from ..host.loading.sampler import attach, points_of, sampler_for
from ..host.loading.stock_sampling import with_shift
from ..weights import bases, families
from .widgets import DENOISE, choice, link, number, socket, text, whole, yes_no
from .wrapper import about

LEAST_MATCH = 0.9
NODE = "FewStepLoadLora"
AS_FAMILY = "auto: by metadata, then by name. Else: as that family, an N-step one for the N in its name."
FAMILY = choice(AS_FAMILY, families.NAMES, default=families.AUTO, advanced=True)
LORA_FILE = link("A name from FewStep Distill, instead of lora_name.")
PARTIAL = "On: a file of which less than 90 % fits is loaded all the same."


class FewStepLoadLora:
    TITLE = "FewStep Load LoRA"
    DESCRIPTION = (
        "Loads a few-step LoRA and returns the sampler, sigmas and cfg it was made for: from its metadata when it was "
        "trained by FewStep, else by its known name (LCM-LoRA, Hyper-SD, Lightning, Qwen-Image-Lightning, Wan and LTX "
        "ones and others: every file of the host's official templates)."
    )
    SEARCH_ALIASES = ["lcm", "lcm-lora", "tcd", "hyper-sd", "lightning", "turbo", "pcm", "dmd", "dmd2", "lora loader"]
    CATEGORY = "FewStep/loaders"
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL", "CLIP", "SAMPLER", "SIGMAS", "FLOAT", "STRING")
    RETURN_NAMES = ("model", "clip", "sampler", "sigmas", "cfg", "report")
    OUTPUT_TOOLTIPS = (
        "With the LoRA on it, and with how it wants to be sampled.",
        "With the LoRA's part for it, if it has one.",
        "What the LoRA was made for.",
        "Its timesteps, for these steps.",
        "Its cfg: 1 for most.",
        "What was loaded, and what does not fit.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "The base that the LoRA belongs to."),
                "lora_name": ours_first(folders.names("loras")),
                "strength": number((-4.0, 4.0, 0.05), "1 is as made; a few-step LoRA bears little else.", default=1.0),
                "steps": whole(50, "4 suits most. An N-step file wants exactly N; the report says so.", default=4),
                "denoise": DENOISE,
            },
            "optional": {
                "clip": socket("CLIP", "Only for files that carry text encoder weights too."),
                "negative_prompt": text(
                    "For the report only: says when it will have no effect.", default="", advanced=True
                ),
                "lora_file": LORA_FILE,
                "family": FAMILY,
                "allow_partial": yes_no(PARTIAL, default=False, advanced=True),
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
        tensors, metadata = loras.read(name, NODE)
        settings = settings_of(name, metadata) if family == families.AUTO else families.named(family, steps, name)
        with about(name):
            theirs, ours = bases.base_of(tensors), loras.base_of(model)
            bases.refuse_other_base(theirs, ours, allow_partial)
            settings = settings or unknown()
            tensors = loras.fitted(model, tensors)
            found = check_match(loras.match(model, clip, tensors), allow_partial, theirs if theirs == ours else None)
            loras.check_shapes(model, tensors)
            patched, patched_clip = loras.apply(model, clip, tensors, strength)
            patched = attach(with_shift(patched, settings), settings, strength)
            sampler, sigmas = sampler_for(patched, settings, steps, denoise)
        notes = families.advice(settings, steps, strength, negative_prompt)
        points = points_of(settings, sigmas, steps, denoise)
        text = report(name, settings, found, points, loras.converted(name, tensors), notes)
        return (patched, patched_clip, sampler, sigmas, settings.cfg, text)


def ours_first(names: list[str]):
    """The list of LoRAs, at first on one whose sampler is known by its name."""
    known = next((name for name in names if families.from_name(name)), None)
    default = {"default": known} if known else {}
    return choice("A .safetensors file in a loras folder.", names, **default)


def settings_of(name: str, metadata: dict) -> families.Settings | None:
    """families.of_file, whose errors name the file."""
    with about(name):
        return families.of_file(name, metadata)


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
        "Choose its family, or rename the file after it (lcm-lora, Hyper-SD15-4steps-lora). "
        "Or use the stock LoraLoader with "
        "FewStep Sampler and FewStep Schedule."
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
