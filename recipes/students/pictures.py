"""Real pictures for the adversary: the base's own training set drawn anew, through its VAE, kept in one file."""

from pathlib import Path

import torch
from tqdm import tqdm

from ...benchmarks.quality import data
from ...weights import io

COUNT, SEED = 7240, 77  # 20 of each combination that the base knows; no measurement has this seed
AT_ONCE = 40


def latents(model, vae, file: Path) -> torch.Tensor:
    """[COUNT, 4, 12, 12] in the VAE's scale; fetched, drawn and encoded the first time, as for benchmarks/quality."""
    if not file.exists():
        sources, subjects = data.load_pictures(), data.plan(COUNT, SEED)
        encoded = []
        for first in tqdm(range(0, COUNT, AT_ONCE), desc="real pictures"):
            some = data.real_pictures(sources, subjects[first : first + AT_ONCE], SEED, first)
            with torch.inference_mode():  # the host loaded the VAE in it
                encoded.append(vae.encode(torch.from_numpy(some).float() / 255))
        file.parent.mkdir(parents=True, exist_ok=True)
        io.save({"latents": torch.cat(encoded).half()}, file, {"captions": "\n".join(captions())})
    return io.load(file)[0]["latents"].float()


def captions() -> list[str]:
    return [subject.caption for subject in data.plan(COUNT, SEED)]


def host_data(model, clip, vae, file: Path):
    """The pictures' latents with their captions' conditionings, as the data of a run."""
    from fewstep.host.conditioning import encode_text
    from fewstep.host.data.from_host import HostData

    texts = captions()
    encoded = {text: encode_text(clip, text) for text in dict.fromkeys(texts)}
    return HostData(tuple(encoded[text] for text in texts), tuple(latents(model, vae, file)))
