"""Make the style LoRA of the tiny base again: `python run.py recipe style_lora` (about ten minutes on two CPU cores).

    python run.py recipe style_lora [--steps 300] [--out FILE]

The base draws pictures of its own prompts; they are printed as cyanotypes (one scale from dark blue to white), and a
LoRA of rank 4 learns them by plain denoising: an ordinary style LoRA, which knows nothing of few steps.
"""

import argparse
from pathlib import Path

import torch
from fewstep.host import headless
from fewstep.weights import io, keys
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = ROOT / "assets" / "loras" / "fewstep-tiny-sd-style-cyanotype.safetensors"
SIZE, RANK, BATCH = (96, 96), 4, 16
DARK, LIGHT = torch.tensor([0.02, 0.10, 0.42]), torch.tensor([0.93, 0.97, 1.0])


def cyanotype(pixels: Tensor) -> Tensor:
    """[b, h, w, 3] in 0..1: luminance (Rec. 709) as a scale from dark blue to white."""
    grey = (pixels[..., :3] @ torch.tensor([0.2126, 0.7152, 0.0722]))[..., None]
    return DARK + grey * (LIGHT - DARK)


def styled_latents(model, vae, encoded: list, empty) -> Tensor:
    """The base's own pictures in the style, as latents in the model's scale."""
    from fewstep.host import sampling

    made = []
    for first in range(0, len(encoded), BATCH):
        chosen = encoded[first : first + BATCH]
        drawn = sampling.teacher_latents(model, chosen, empty, SIZE, seed=11, first=first, steps=10, cfg=2.0)
        with torch.inference_mode():
            pixels = vae.decode(model.model.process_latent_out(drawn)).clamp(0, 1).cpu()
            made.append(vae.encode(cyanotype(pixels)).float().cpu())
        print(f"\r{first + len(chosen)} of {len(encoded)} pictures", end="", flush=True)
    print()
    with torch.inference_mode(False):
        return model.model.process_latent_in(torch.cat(made).clone())


def learn(copy, latents: Tensor, conds: list[dict], targets: list[str], steps: int) -> dict[str, Tensor]:
    """|| eps - eps_student ||^2 over all timesteps, AdamW, half a cosine."""
    from fewstep.training.data import join_conds
    from fewstep.training.path import Path as NoisePath
    from fewstep.training.roles import LoraRoles, equal_adapters

    roles, path = LoraRoles(copy.net, copy.denoise, equal_adapters(targets, RANK, RANK)), NoisePath(copy.sigmas())
    parameters = roles.parameters("student")
    optimizer = torch.optim.AdamW(parameters.values(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        chosen = torch.randint(len(latents), (BATCH,), generator=generator)
        t = torch.randint(1000, (BATCH,), generator=generator)
        noise = torch.randn(latents[chosen].shape, generator=generator)
        y, sigma = path.noise(latents[chosen], noise, t), path.sigma(t)
        x0 = roles("student", y, sigma, join_conds([conds[i] for i in chosen], torch.device("cpu")))
        loss = ((x0 - latents[chosen]) / sigma.view(-1, 1, 1, 1)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0:
            print(f"step {step}: {loss.item():.4f}", flush=True)
    return parameters


def main() -> None:
    parser = argparse.ArgumentParser(prog="recipes.style_lora", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pictures", type=int, default=384)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the finished file goes")
    args = parser.parse_args()
    headless.start()
    from fewstep.host import conditioning, folders, model_copy
    from fewstep.host.training import layers

    model, clip, vae = headless.load_checkpoint(folders.ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
    lines = (folders.PROMPTS / "tiny-sd.txt").read_text(encoding="utf-8").splitlines()
    prompts = lines[:: len(lines) // args.pictures][: args.pictures]
    encoded = [conditioning.encode_text(clip, prompt) for prompt in [*prompts, ""]]
    with model_copy.training_mode():
        latents = styled_latents(model, vae, encoded[:-1], encoded[-1])
        conds = [conditioning.model_keywords(model, text, *SIZE) for text in encoded[:-1]]
        learnt = learn(model_copy.TrainingCopy(model), latents, conds, layers.lora_targets(model), args.steps)
    tensors = keys.export_lora(learnt, layers.lora_names(model), RANK)
    tensors = {key: tensor.half() if tensor.ndim else tensor for key, tensor in tensors.items()}
    about = {"modelspec.title": "cyanotype", "modelspec.description": "A style LoRA of the tiny base, rank 4."}
    io.save(tensors, args.out, {**about, "ss_network_dim": str(RANK), "ss_network_alpha": str(RANK)})
    print(f"The style LoRA is in {args.out}")


if __name__ == "__main__":
    main()
