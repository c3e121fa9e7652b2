"""Names for the page's widget values, which it keeps as bare lists: by a table for the host's nodes that sample."""

from typing import Any

SEED = ("seed", "control_after_generate")
WIDGETS = {
    "KSampler": (*SEED, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise",
        "noise_seed",
        "control_after_generate",
        "steps",
        "cfg",
        "sampler_name",
        "scheduler",
        "start_at_step",
        "end_at_step",
        "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "control_after_generate", "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "SamplerEulerAncestral": ("eta", "s_noise"),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "BetaSamplingScheduler": ("steps", "alpha", "beta"),
    "SDTurboScheduler": ("steps", "denoise"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "LTXVScheduler": ("steps", "max_shift", "base_shift", "stretch", "terminal"),
    "ManualSigmas": ("sigmas",),
    "SplitSigmas": ("step",),
    "SplitSigmasDenoise": ("denoise",),
    "SetFirstSigma": ("sigma",),
    "CFGGuider": ("cfg",),
    "DualCFGGuider": ("cfg", "cfg_cond2_negative", "style"),
    "DualModelGuider": ("cfg",),
    "LTXVDualCFGGuider": ("cfg", "audio_cfg"),
    "ModelSamplingSD3": ("shift",),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "ModelSamplingLTXV": ("max_shift", "base_shift"),
    "ModelSamplingDiscrete": ("sampling", "zsnr"),
    "MiniMaxH3SigmaShift": ("shift_video", "shift_audio"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "ImageOnlyCheckpointLoader": ("ckpt_name",),
    "UnetLoaderGGUF": ("unet_name",),
    "ComfySwitchNode": ("switch",),
    "ComfyMathExpression": ("expression",),
    "CustomCombo": ("choice", "index"),
    "PrimitiveNode": ("value", "control_after_generate"),
    "PrimitiveInt": ("value", "control_after_generate"),
    "PrimitiveFloat": ("value",),
    "PrimitiveBoolean": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "FewStepKSampler": (*SEED, "steps", "cfg", "sampler_name", "eta", "denoise"),
    "FewStepLoadLora": ("lora_name", "strength", "steps", "denoise", "negative_prompt", "family", "allow_partial"),
    "FewStepLoadModel": ("model_name", "steps", "denoise", "guidance", "family", "allow_partial"),
    "FewStepCFGSchedule": ("cfg",),
    "FewStepTwoModelSampler": (
        "noise_seed",
        "control_after_generate",
        "cfg",
        "boundary",
        "first_step",
        "first_cfg",
    ),
    "FewStepSampler": ("sampler_name", "eta"),
    "FewStepSchedule": ("scheduler", "steps", "denoise"),
}
SOCKETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")  # types of inputs that are widgets until linked


def named_values(node: dict) -> dict[str, Any]:
    """A page node's widget values by name; by number where a name is not known."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return dict(values)
    values = values if isinstance(values, list) else []
    names = WIDGETS.get(node["type"]) or [one["name"] for one in node.get("inputs") or [] if one.get("widget")]
    if node["type"] not in WIDGETS and len(names) != len(values):
        names = []
    return {names[at] if at < len(names) else f"#{at}": value for at, value in enumerate(values)}


def promoted(node: dict, inputs: list[dict]) -> dict[str, Any]:
    """Values that a subgraph's node holds for its inputs; older pages keep them in order, newer ones by name."""
    values = node.get("widgets_values")
    values = values if isinstance(values, list) else []
    shown = (node.get("properties") or {}).get("proxyWidgets") or []
    if shown:
        names = [name if str(key) == "-1" else None for key, name in shown]
    else:
        names = [one["name"] for one in inputs if one.get("type") in SOCKETS]
    if len(names) != len(values):
        return {}
    return {name: value for name, value in zip(names, values) if name is not None}
