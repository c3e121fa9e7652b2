"""What a run is, and what comes out of it: plain data, which every other module of the suite reads."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ...training.config import TrainConfig
from ...training.method import Method, Training
from ...training.options import ConsistencyOptions
from ...training.processes import ALONE, Alone
from ...training.state import RunFolder
from .. import fingerprints, folders
from ..data.dataset import DataSpec
from ..loading import loras
from ..sockets import Clip, Model, Vae

NODE = "FewStepDistill"  # names itself in every refusal
FEW = 4  # steps of previews and of the held-out error, where the method has as many


@dataclass(frozen=True)
class Job:
    """Everything a run is: the wired model with its text encoder and VAE, data, method, settings, and a name."""

    model: Model
    clip: Clip
    vae: Vae | None
    spec: DataSpec
    method: Method
    config: TrainConfig
    run_name: str
    preview_prompts: list[str]
    start: str = ""  # name of a LoRA in a loras folder that the student starts from
    start_model: Model | None = None  # a MODEL that a full-weight student starts from, instead of from the teacher
    resume: bool = True  # go on with a run of this name; False: refuse when there is one
    resume_step: int = -1  # the saved step to go on from; -1: the newest
    write_on_cancel: bool = False  # a cancelled run leaves the student's file as it is then
    tensorboard: bool = False  # the numbers of every step also as TensorBoard's scalars, in the run folder
    place: Path | None = None  # of the run folder, where it is not among the host's own
    processes: Alone = ALONE  # those that train it together

    @property
    def folder(self) -> RunFolder:
        if self.place:
            return RunFolder(self.place)
        return RunFolder(folders.inside(folders.output_folder() / "fewstep_runs", self.run_name, "Run name"))

    @property
    def source(self) -> dict[str, str]:
        """What else identifies the run, for resuming."""
        source = {"base": fingerprints.of_model(self.model), "data": self.spec.digest()}
        if self.start:
            source["start"] = f"{self.start} {loras.sha256(self.start)[:16]}"
        if self.learns_through_vae:
            source["vae"] = fingerprints.of_network(self.vae.first_stage_model)
        if self.start_model:
            source["start_model"] = fingerprints.of_model(self.start_model)
        return source

    @property
    def learns_through_vae(self) -> bool:
        """Whether latents or losses come out of the VAE, not only previews."""
        encodes = self.spec.pictures is not None and self.method.images
        return self.vae is not None and bool(encodes or self.method.on_images)

    @property
    def trains_lora(self) -> bool:
        """Whether the student is a LoRA, and not a whole network."""
        return self.config.train == "lora"

    @property
    def kept_role(self) -> str:
        """Which weights are the product: the moving average where there is one."""
        return "target" if self.config.ema_decay else "student"

    @property
    def roles(self) -> tuple[str, ...]:
        """The method's roles that this run has: the target only with an average."""
        return tuple(role for role in self.method.roles if role != "target" or self.config.ema_decay)

    @property
    def guidance(self) -> float:
        """What a student with a guidance embedding is told where no term says it: the data's cfg, if it learns that."""
        told = self.method.options_of(ConsistencyOptions)
        low, high = (own.guidance_min for own in told), (own.guidance_max for own in told)
        return min(max(self.spec.teacher_cfg, *low), *high)

    @property
    def timesteps(self) -> list[int]:
        """The student's own for a few steps, by which previews are drawn and the held-out error is measured."""
        return self.method.timesteps_for(min(FEW, self.method.most))

    def training(self, role: str) -> Training:
        """How a role trains: its rate, and its LoRA."""
        return self.method.training(role, self.config)


@dataclass(frozen=True)
class Result:
    """The student: its LoRA (kohya names) or whole network, its file's name in the host's list, the run's metrics."""

    tensors: dict[str, Tensor]
    name: str
    metrics: list[dict]
    parameters: int
    estimate: str  # what the run was expected to need
    error: float = 0.0  # of the wired MODEL's patches in the LoRA, where they went in by SVD
    notes: tuple[str, ...] = ()  # what the user should know: a damaged state that was passed over, ...
