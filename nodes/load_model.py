"""A whole few-step model together with the sampler, sigmas and guidance it was made for."""

from ..host.loading import models, saving
from ..host.loading.sampler import attach, points_of, sampler_for
from ..host.loading.stock_sampling import with_shift
from ..weights import families
from ..weights.families import models as published
from .load import PARTIAL
from .widgets import DENOISE, choice, number, whole, yes_no
from .wrapper import about

LEAST_MATCH = 0.9
NAMES = [families.AUTO, *published.NAMES]


class FewStepLoadModel:
    TITLE = "FewStep Load Model"
    DESCRIPTION = (
        "Loads a whole few-step model (checkpoint or U-Net) and returns the sampler, sigmas and cfg it was made for: "
        "LCM, SDXL-Lightning, DMD2, Turbo, Z-Image-Turbo, FLUX.2 klein, schnell, LTX-2 distilled and others, also "
        "quantised: every file of the host's official templates."
    )
    SEARCH_ALIASES = [
        "checkpoint loader",
        "lcm",
        "hyper-sdxl",
        "lightning",
        "turbo",
        "dmd",
        "dmd2",
        "swiftbrush",
        "one step",
    ]
    CATEGORY = "FewStep/loaders"
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL", "CLIP", "VAE", "SAMPLER", "SIGMAS", "FLOAT", "STRING")
    RETURN_NAMES = ("model", "clip", "vae", "sampler", "sigmas", "cfg", "report")
    OUTPUT_TOOLTIPS = (
        "With how it wants to be sampled.",
        "Where the file has one.",
        "Where the file has one.",
        "What the model was made for.",
        "Its timesteps, for these steps.",
        "Its cfg: 1 for most.",
        "What was loaded, and what does not fit.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        guidance = "Only for LCM models with a guidance embedding: the usual cfg, at no second pass. Leave cfg at 1."
        family = "auto: by metadata, guidance embedding, then name. Else: as that family, for the N in its name."
        return {
            "required": {
                "model_name": choice("A .safetensors checkpoint or diffusion model.", models.names()),
                "steps": whole(50, "What the file was made for; the report says when it is not.", default=4),
                "denoise": DENOISE,
                "guidance": number((1.0, 20.0, 0.5), guidance, default=8.0),
                "family": choice(family, NAMES, default=families.AUTO),
                "allow_partial": yes_no(PARTIAL, default=False, advanced=True),
            }
        }

    def load(self, model_name, steps, denoise, guidance, family, allow_partial):
        with about(model_name):
            header = models.read(model_name)
            settings = settings_of(model_name, header, family, steps)
            model, clip, vae, compared = loaded(header, model_name, allow_partial)
            if header.projection is not None:
                model = models.with_guidance(model, header.projection, guidance)
            if settings.family in published.PREDICTS_X0:
                model = models.predicting_x0(model)
            model = attach(with_shift(model, settings), settings, settings.strength)
            sampler, sigmas = sampler_for(model, settings, steps, denoise)
        lines = [
            f"{model_name}: {settings.family}",
            f"sampler {settings.sampler}, {points_of(settings, sigmas, steps, denoise)}",
            f"cfg {settings.cfg:g}" + (f", guidance {guidance:g}" if header.projection is not None else ""),
            *compared,
            *(
                f"The file has no {part}: load one beside it."
                for part, out in (("CLIP", clip), ("VAE", vae))
                if not out
            ),
            *([f"source: {settings.source}"] if settings.source else []),
            *(f"Note: {note}" for note in families.advice(settings, steps, settings.strength, "")),
        ]
        return (model, clip, vae, sampler, sigmas, settings.cfg, "\n".join(lines))


def loaded(header: models.Header, name: str, allow_partial: bool) -> tuple:
    """(MODEL, CLIP, VAE, lines on what was compared): a U-Net's weights are checked, other networks are the host's."""
    if header.is_u_net:
        models.check_values(header)
    model, clip, vae = models.load(header)
    model = saving.note_file(model, name, header.path)
    if not header.is_u_net:
        return model, clip, vae, ["loaded as the stock loaders do; its weights were not compared with the network"]
    found = check_match(models.match(model, header), allow_partial)
    models.zero(model, found.missing)
    counts = f"{len(found.matched)} tensors matched, {len(found.missing) + len(found.unknown)} not"
    return model, clip, vae, [counts, *warnings(found)]


def settings_of(name: str, header, family: str, steps: int) -> families.Settings:
    """The user's choice, else by metadata, the guidance projection, and the name."""
    if family != families.AUTO:
        return published.named(family, steps, name)
    found = families.from_metadata(header.metadata)
    if found:
        return found
    if header.projection is not None:
        return published.named(published.LCM, steps)
    hit = published.found(name)
    if hit is None:
        raise ValueError("has no FewStep metadata and no known name, so its sampler cannot be told. Choose its family.")
    if hit[0].family == published.LCM:
        raise ValueError(
            "is named like an LCM model but has no guidance embedding (time_embedding.cond_proj.weight). Get the "
            "author's file, or choose its family."
        )
    return hit[1]


def check_match(found: models.Match, allow_partial: bool) -> models.Match:
    """Raise ValueError when nothing fits, or less than 90 % without the user's leave."""
    if not found.matched or (found.share < LEAST_MATCH and not allow_partial):
        lost = [*found.missing, *found.unknown]
        raise ValueError(
            f"only {len(found.matched)} of {len(found.matched) + len(lost)} tensors fit the network, not "
            f"{lost[0] if lost else 'any'}. It may be cut short or of another kind; allow_partial loads it anyway."
        )
    return found


def warnings(found: models.Match) -> list[str]:
    """What the file lacks and what of it has no place, each counted and with the first names."""
    lines = []
    if found.missing:
        lines.append(
            f"Warning: the file lacks {listed(found.missing)} of the network, or has them in another size. They are 0, "
            "and pictures will suffer: get the file again."
        )
    if found.unknown:
        lines.append(f"Warning: the network does not know {listed(found.unknown)} of the file, which are left out.")
    return lines


def listed(names: list[str], most: int = 3) -> str:
    """The count and the first names: 5 tensors (a, b, c ...)."""
    return f"{len(names)} tensors ({', '.join(names[:most])}{' ...' if len(names) > most else ''})"


NODES = (FewStepLoadModel,)
