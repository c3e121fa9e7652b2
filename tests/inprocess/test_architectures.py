"""A model family is one row: each is whole and agrees with the host, no other file asks, a new one is trainable."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.options import ConsistencyOptions, TSCDOptions

HOST = Path(__file__).resolve().parents[2] / "host"
COMMON = {"layers", "blocks"}  # what Z-Image and Wan call theirs, and any code some of its own
DEFINES_A_CLASS = {"tiny_sd.py"}  # the tiny base, derived from the host's SD15


@pytest.fixture(scope="module", autouse=True)
def started(tmp_path_factory):
    small_models.start(tmp_path_factory.mktemp("architectures"))


def rows():
    from fewstep.host import architectures

    return architectures.ROWS


def strings_and_attributes(file: Path) -> set[str]:
    """What the code of a file says, comments and docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    said = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs}
    return {word for word in said if isinstance(word, str)} | {
        n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)
    }


def test_no_other_file_of_the_host_names_a_class_or_the_blocks_of_a_family():
    classes = {name for row in rows() for name in row.host_classes}
    blocks = {blocks.name for row in rows() if row.network for blocks in row.network.blocks}
    for file in sorted(HOST.rglob("*.py")):
        if file.name not in {"architectures.py", "networks.py", *DEFINES_A_CLASS}:
            assert not strings_and_attributes(file) & (classes | blocks - COMMON), file.name


def test_no_other_file_of_the_host_counts_the_pixels_of_a_latent():
    """`height // 8`, `8 * side`."""
    for file in sorted(HOST.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mult):
                sides = [side.value for side in (node.left, node.right) if isinstance(side, ast.Constant)]
                assert 8 not in sides, f"{file.name}:{node.lineno}"


def test_every_row_is_whole_and_no_class_or_base_has_two():
    names = [name for row in rows() for name in row.host_classes]
    assert len(set(names)) == len(names) and len({row.base for row in rows()}) == len(rows())
    for row in rows():
        assert row.host_classes and row.latents.channels > 0 and row.latents.pixels > 0
        assert bool(row.modelspec) == (row.network is not None)
        if row.network:
            assert row.network.blocks and row.network.groups
            assert row.network.names == "diffusers" or not row.network.full_weights  # as the file has no other names
        for part in filter(None, (row, row.latents, row.network)):
            assert all(getattr(part, field.name) is not None for field in fields(part) if field.name != "network")


@pytest.mark.parametrize("base", small_models.CONFIGS)
def test_a_row_says_what_the_host_does(base):
    """Latents as the host has them, and texts repeated where the host repeats them."""
    from comfy.conds import CONDCrossAttn
    from fewstep.host import architectures

    model = small_models.make(base)
    if model is None:
        pytest.skip(f"this host has no {base}")
    row = architectures.of(model)
    assert row.base == base and (architectures.has_the_rows_latents(model) or row.network is None)
    shape = architectures.latent_shape(model, 128, 192)
    frames = (1,) if row.latents.dimensions == 3 else ()
    assert shape == (row.latents.channels, *frames, 128 // row.latents.pixels, 192 // row.latents.pixels)
    assert architectures.image_size(model, shape) == (128, 192)
    if row.network:
        width = model.model.model_config.unet_config.get("context_dim") or 32
        pooled = torch.zeros(1, 1280 if base in ("SDXL", "SSD-1B") else 32)
        conds = model.model.extra_conds(
            cross_attn=torch.zeros(1, 7, width), pooled_output=pooled, noise=torch.zeros(1, *shape),
            device=torch.device("cpu"), width=192, height=128, prompt_type="positive",
        )  # fmt: skip
        assert row.repeats_text == isinstance(conds["c_crossattn"], CONDCrossAttn)
        assert not row.tells_length or conds[row.tells_length].cond == 7


class Stage(torch.nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.mix, self.text = torch.nn.Conv2d(width, width, 3, padding=1), torch.nn.Linear(24, width)

    def forward(self, x, context):
        return x + self.mix(torch.nn.functional.silu(x)) + self.text(context).mean(1)[:, :, None, None]


class ToyNetwork(torch.nn.Module):
    """A network of no known family, over latents of 6 channels at a quarter of the image."""

    def __init__(self, width: int = 16, dtype=torch.float32, **_):
        super().__init__()
        self.dtype = dtype
        self.head, self.tail = torch.nn.Conv2d(6, width, 1), torch.nn.Conv2d(width, 6, 1)
        self.stages = torch.nn.ModuleList([Stage(width), Stage(width)])

    def forward(self, x, timesteps, context=None, **_):
        x = self.head(x) + timesteps.view(-1, 1, 1, 1) / 1000
        for stage in self.stages:
            x = stage(x, context)
        return self.tail(x)


class ToyText:
    def tokenize(self, text):
        return text

    def encode_from_tokens(self, tokens, return_pooled=True):
        return torch.randn(1, 9, 24, generator=torch.Generator().manual_seed(len(tokens))), torch.zeros(1, 24)


def toy_model():
    """A MODEL of a class that the host does not have."""
    import comfy.supported_models as supported
    from comfy import latent_formats, model_base
    from comfy.model_patcher import ModelPatcher

    class ToyLatents(latent_formats.LatentFormat):
        latent_channels, spacial_downscale_ratio, scale_factor = 6, 4, 0.5

    class ToyFamily(supported.supported_models_base.BASE):
        unet_config, latent_format = {}, ToyLatents

        def get_model(self, *_, **__):
            return model_base.BaseModel(self, device=None, unet_model=ToyNetwork)

    with torch.inference_mode():
        torch.manual_seed(0)
        model = ToyFamily({"dtype": torch.float32}).get_model({})
    return ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def toy_row():
    from fewstep.host.architectures import Architecture, Latents
    from fewstep.host.networks import Blocks, Network

    network = Network(
        blocks=(Blocks(name="stages", layered=False, image="output"),),
        names="host", without_lora=(), groups={"mixing": ("mix",)}, full_weights=False,
        guidance_layer="", fp32_layer="",
    )  # fmt: skip
    return Architecture(
        base="Toy", host_classes=("ToyFamily",), latents=Latents(channels=6, pixels=4, dimensions=2),
        repeats_text=True, modelspec="toy-v1", network=network,
    )  # fmt: skip


def test_one_more_row_makes_a_new_family_trainable(tmp_path, monkeypatch):
    """With a discriminator on its blocks, layers of its groups, recomputation, and its name in the file."""
    from fewstep.host import architectures, folders
    from fewstep.host.data import dataset
    from fewstep.host.training import export, run
    from fewstep.host.training.job import Job

    monkeypatch.setattr(folders, "output_folder", lambda: tmp_path / "output")
    monkeypatch.setattr(folders, "lora_folder", lambda: tmp_path / "loras")
    jump = ConsistencyOptions(boundary=False, end="random", skip=100, guidance_min=2.0, guidance_max=2.0)
    tscd = TSCDOptions(segments=(2,), phase_steps=(2,), distance=(1.0,), adversarial=(0.1,), consistency=jump)
    config = TrainConfig(steps=2, batch_size=2, rank=4, alpha=4.0, layers="mixing", gradient_checkpointing=True)
    spec = dataset.DataSpec(("a", "bc"), None, 48, 32, 2, 2, 2.0)
    job = Job(toy_model(), ToyText(), None, spec, methods.tscd(tscd), config, "toy", [])
    with torch.inference_mode():
        with pytest.raises(ValueError, match="none of the kinds it can train"):
            run.distil(job)
        monkeypatch.setattr(architectures, "ROWS", (*architectures.ROWS, toy_row()))
        with pytest.raises(ValueError, match="sides are 50 and 32 pixels. Toy wants multiples of 4"):
            run.distil(replace(job, spec=replace(spec, width=50)))
        result = run.distil(job)
    assert {key.split(".")[0] for key in result.tensors} == {"lora_unet_stages_0_mix", "lora_unet_stages_1_mix"}
    assert any(t.abs().sum() > 0 for key, t in result.tensors.items() if key.endswith("lora_up.weight"))
    assert len(result.metrics) == 2 and "activations unknown" not in result.estimate
    assert export.metadata(job)["modelspec.architecture"] == "toy-v1/lora"
