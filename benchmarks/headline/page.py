"""docs/students.md."""

FIGURES = {
    "distance": "Frechet distance above the floor to reconstructions of real pictures (`benchmarks/quality`)",
    "real": "the same to the real pictures themselves",
    "kid": "kernel distance of the same features to the reconstructions, x 1000",
    "precision": "share of the pictures on the real ones' manifold (k = 3)",
    "recall": "share of the real pictures on theirs",
    "retrieval": "share whose caption, of 400, a discriminant on the features finds; of real pictures it finds 0.91",
    "held_out": "the same for the 38 captions that neither base nor student was trained on",
    "binding": "share with the background colour that the caption names",
    "saturation": "mean HSV saturation",
    "contrast": "standard deviation of the luma within a picture, mean",
    "seconds": "for a picture, sampling and decoding, one CPU thread, beside other work: no measure of speed",
}
DIGITS = {"distance": 1, "real": 0, "kid": 0, "contrast": 3}
HEAD = """# Students of the tiny base, side by side

Every student in `assets/loras` at every number of steps that it is for, sampled as FewStep Load LoRA hands it out,
beside the base's best stock sampler at as many network passes; made by `python run.py bench headline`. Lower is better
for the distances, higher for the shares. One seed: a difference of one in the distance says little.
"""


def page(found: dict[str, dict]) -> str:
    """The table, rows in their order, with what each column is."""
    counts, seeds = ({one[key] for one in found.values()} for key in ("n", "seed"))
    said = f"n = {' or '.join(map(str, sorted(counts)))}, seed {' or '.join(map(str, sorted(seeds)))}."
    names = " | ".join(name.replace("_", " ") for name in FIGURES)
    head = f"| steps | what | passes | {names} |\n|{'---|' * (len(FIGURES) + 3)}"
    lines = [row(name, one) for name, one in found.items()]
    about = "\n".join(f"- *{name.replace('_', ' ')}*: {what}." for name, what in FIGURES.items())
    return "\n".join([HEAD, said, "", head, *lines, "", about, ""])


def row(name: str, one: dict) -> str:
    cells = [f"{one[figure]:.{DIGITS.get(figure, 2)}f}" for figure in FIGURES]
    return f"| {name} | {one['passes']:g} | {' | '.join(cells)} |"
