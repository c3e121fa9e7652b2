"""Why a row differs from an official template: the author's own source wins, and here is what the template does.

(template, file, field, reason); names as shell patterns, the first row that fits counts. A test wants a reason for
every disagreement, and a disagreement for every reason.
"""

from fnmatch import fnmatchcase

EXCEPTIONS = (
    (
        "video_ltx2_i2v_lora",
        "ltx*",
        "*",
        "Its first pass takes 12 steps of the undistilled schedule with the LoRA on; the author gives 8 sigmas.",
    ),
    (
        "*",
        "ltx*",
        "sampler",
        "The author takes Euler, from LTX-2.5 on Euler ancestral in the first pass alone; the template has a sampler "
        "of its own on the author's sigmas.",
    ),
    (
        "*",
        "ltx*",
        "schedule",
        "Its second pass starts at 0.85; the author's starts at 0.909375, a point of the first list.",
    ),
    (
        "video_wan2_2_14B_fun_*",
        "wan2.2*",
        "schedule",
        "It keeps the base's shift 8; the LoRA's author trained on shift 5.",
    ),
    (
        "video_wan2_2_14B_s2v",
        "wan2.2*",
        "*",
        "S2V is one model without halves, on which the template puts the high-noise LoRA for all steps, with UniPC at "
        "the base's shift 8. The author has no settings for it.",
    ),
    (
        "video_bernini_r_*",
        "lightx2v*",
        "strength",
        "The LoRA of Wan 2.1 on another base at 3 and 1.5: its template's own, no author's source.",
    ),
    ("video_wan_dancer", "lightx2v*", "strength", "On another base at 3: its template's own, no author's source."),
    (
        "video_wan2_1_infinitetalk",
        "lightx2v*",
        "schedule",
        "The normal schedule ends at sigma 0.001, so that its last step does nothing; the author has shift 5.",
    ),
    ("*", "lightx2v*", "steps", "Made for 4 steps; the template takes 6 on a task model that it was not made for."),
    ("*", "lightx2v*", "schedule", "It keeps the base's shift 8; the LoRA's author trained on shift 5."),
    ("*", "lightx2v*", "sampler", "Its template's own; the author's step is Euler, and was LCM's for a while."),
    (
        "video_wan_vace_inpainting",
        "*CausVid*",
        "*",
        "6 steps at shift 5, where the other five templates and the note in this one have 2-4 and shift 8.",
    ),
    ("image_chrono_edit_14B", "chronoedit*", "*", "4 steps at shift 5; the author has 8 at shift 2."),
    (
        "image_flux2*",
        "*",
        "schedule",
        "It takes FLUX.2's own schedule; the author gives 8 sigmas, denser at the end, which diffusers shifts.",
    ),
    (
        "image_boogu_image_0_1_turbo_t2i",
        "*",
        "schedule",
        "The host's default shift 3.16 stays on; the author steps evenly without a shift.",
    ),
    (
        "utility_pid_latent_upscale_dit",
        "pid*",
        "schedule",
        "The host's shift 1.5 comes near to the author's list, and says so in its source.",
    ),
    (
        "image_minimax_h3_t2i",
        "minimax*",
        "steps",
        "Its switch turns the LoRA on and leaves the base's 30 steps, to be set by hand.",
    ),
    (
        "3d_hunyuan3d_multiview_to_model_turbo",
        "*",
        "*",
        "20 steps at cfg 4, as without distillation; the author's example takes 5, the host's guide cfg 1.",
    ),
    ("basic_switch_node", "z_image*", "steps", "A lesson on switches in 4 steps; the author has 8."),
    ("*", "z_image*", "sampler", "A second pass over a picture; its template's own sampler."),
    (
        "templates-image_to_real",
        "Qwen*",
        "schedule",
        "The beta schedule is the template's own; the author has shift 3.",
    ),
)


def reason(template: str, file: str, field: str) -> str | None:
    """Why this disagreement stands, or None."""
    return next((row[3] for row in EXCEPTIONS if fits(row, template, file, field)), None)


def fits(row: tuple[str, str, str, str], *place: str) -> bool:
    return all(fnmatchcase(word, pattern) for word, pattern in zip(place, row))
