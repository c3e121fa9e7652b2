"""The tables of docs/gpu.md from the figures of `bench gpu`."""


def text(found: dict) -> str:
    """Both tables, under the machine's name."""
    machine = found["machine"]
    head = f"Measured on: {machine['device']}, PyTorch {machine['torch']}" + (
        f", {machine['memory'] / 1e9:.0f} GB." if machine["memory"] else "."
    )
    return "\n\n".join([head, training(found["training"]), sampling(found["sampling"])])


def training(rows: list[dict]) -> str:
    head = "| network | method | precision | checkpointing | seconds an iteration | peak memory | estimate |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        where = f"| {row['size']} | {row['method']} | {row['precision']} | {'yes' if row['checkpointing'] else 'no'} |"
        lines.append(where + (f" {row['error']} | | |" if "error" in row else figures(row)))
    return "\n".join(lines)


def figures(row: dict) -> str:
    peak = f"{row['peak'] / 1e9:.1f} GB" if row["peak"] else "-"
    return f" {row['seconds']:.3f} | {peak} | {row['estimate'] / 1e9:.1f} GB |"


def sampling(ratios: dict[str, float]) -> str:
    lines = [f"| {name} | {ratio:.3f} |" for name, ratio in ratios.items()]
    return "\n".join(["| our sampler | seconds, ours / the host's |", "|---|---|", *lines])
