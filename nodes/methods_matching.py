"""What a student is taught by, on what it makes itself: Imagine Flash, SwiftBrush, DMD; and sums of methods."""

from ..training import methods
from ..training.config import require
from ..training.matching import ReconstructionOptions, ScoreOptions
from ..training.methods import ScoreMethodOptions
from .methods import GUIDANCE, METHOD, RATE, built, numbers


class FewStepMethodImagineFlash:
    TITLE = "FewStep Method Imagine Flash"
    DESCRIPTION = (
        "Backward distillation with the shifted reconstruction loss (Kohler et al. 2024): the student learns on its "
        "own steps, from prompts alone. For 1-3 steps; sample with imagine_flash. gamma and k are not published."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "timesteps": ("STRING", {"default": "999, 666, 332", "tooltip": "The student's steps, falling."}),
                "start": (
                    ["backward", "forward"],
                    {"tooltip": "backward: the student's own rollout. forward: noised pictures, as its rivals do."},
                ),
                "shift": (
                    ["schedule", "none", "random"],
                    {"tooltip": "Where the teacher starts: gamma(t), x_t itself (step distillation), random (ADD)."},
                ),
                "gamma_max": (
                    "FLOAT",
                    {"default": 900.0, "min": 1.0, "max": 999.0, "step": 1.0, "tooltip": "gamma at t = 999."},
                ),
                "gamma_power": (
                    "FLOAT",
                    {"default": 1.4, "min": 0.1, "max": 5.0, "step": 0.1, "tooltip": "gamma_max (t / 999)^power."},
                ),
                "noise": (["own", "fresh"], {"tooltip": "fresh needs the adversarial loss: alone it blurs."}),
                "teacher_steps": ("INT", {"default": 4, "min": 1, "max": 50, "tooltip": "k, the teacher's steps."}),
                "guidance": ("FLOAT", {"default": 7.5, **GUIDANCE, "tooltip": "cfg of the teacher."}),
                "loss": (["l2", "huber"], {"tooltip": "The paper takes l2."}),
                "adversarial": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 10.0, "step": 0.01, "tooltip": "0.1 is PCM's weight."},
                ),
                "discriminator_rate": ("FLOAT", {**RATE, "tooltip": "Learning rate of the discriminator."}),
            }
        }

    def build(self, timesteps, discriminator_rate, **options):
        def make():
            steps = numbers(timesteps, int, "Imagine Flash", "timesteps")
            return methods.imagine_flash(ReconstructionOptions(timesteps=steps, **options), discriminator_rate)

        return built("FewStepMethodImagineFlash", make)


EVERY = {"min": 1, "max": 100, "tooltip": "Critic turns per student turn."}
ANCHOR = {"min": 0.0, "max": 100.0, "step": 0.01, "default": 0.0}
ANCHOR_TIP = "Weight of an MSE to the teacher's own picture of the same noise. Costs anchor_steps passes."
ANCHOR_STEPS = {"default": 8, "min": 1, "max": 50, "tooltip": "DDIM steps of that picture."}
REAL = {**GUIDANCE, "tooltip": "cfg of the real score (the teacher)."}
FAKE = {**GUIDANCE, "tooltip": "cfg of the fake score (the critic)."}
ADVERSARIAL_TIP = "Weight of the adversarial loss against the data's pictures. DMD2: 0.001-0.005. 0: prompts alone."
JUDGING_TIP = "Weight of telling pictures apart in the critic's loss; for heads on the critic. DMD2: 0.01."
CRITIC = {**RATE, "tooltip": "Learning rate of the critic's LoRA."}


class FewStepMethodSwiftBrush:
    TITLE = "FewStep Method SwiftBrush"
    DESCRIPTION = (
        "SwiftBrush v2 (Dao et al. 2024): a one-step student from prompts alone, by variational score distillation "
        "against a LoRA critic on the same base. Start it from a few-step LoRA (start_lora)."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "guidance": ("FLOAT", {**REAL, "default": 4.5}),
                "critic_guidance": ("FLOAT", {**FAKE, "default": 4.5}),
                "student_every": ("INT", {**EVERY, "default": 1}),
                "critic_rate": ("FLOAT", {**CRITIC, "default": 1e-3}),
                "anchor": ("FLOAT", {**ANCHOR, "tooltip": ANCHOR_TIP}),
                "anchor_steps": ("INT", ANCHOR_STEPS),
                "pictures": ("FLOAT", {**ANCHOR, "tooltip": "Weight of regularisation to the data's pictures."}),
            }
        }

    def build(self, guidance, critic_guidance, **options):
        def make():
            score = ScoreOptions(weight="vsd", guidance=guidance, critic_guidance=critic_guidance, critic_weight="vsd")
            return methods.swiftbrush(ScoreMethodOptions(score=score, **options))

        return built("FewStepMethodSwiftBrush", make)


class FewStepMethodDMD:
    TITLE = "FewStep Method DMD"
    DESCRIPTION = (
        "Distribution matching (DMD2, Yin et al. 2024) from prompts alone; Hyper-SD's one-step enhancement when it "
        "starts from the TSCD LoRA (start_lora)."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        steps = {
            "default": "999",
            "tooltip": "The student's steps: 999, 800 (Hyper-SD's U-Net), or 999, 749, 499, 249.",
        }
        return {
            "required": {
                "timesteps": ("STRING", steps),
                "guidance": ("FLOAT", {**REAL, "default": 7.5}),
                "critic_guidance": ("FLOAT", {**FAKE, "default": 1.0}),
                "student_every": ("INT", {**EVERY, "default": 5}),
                "critic_rate": ("FLOAT", {**CRITIC, "default": 1e-4}),
                "anchor": ("FLOAT", {**ANCHOR, "tooltip": ANCHOR_TIP}),
                "anchor_steps": ("INT", ANCHOR_STEPS),
                "pictures": ("FLOAT", {**ANCHOR, "tooltip": "Weight of regularisation to the data's pictures."}),
            },
            "optional": {  # added later: graphs saved before have no value for it
                "adversarial": ("FLOAT", {**ANCHOR, "tooltip": ADVERSARIAL_TIP}),
                "features": (["critic", "teacher"], {"tooltip": "What the discriminator looks at. DMD2: its critic."}),
                "judging": ("FLOAT", {**ANCHOR, "default": 0.01, "tooltip": JUDGING_TIP}),
            },
        }

    def build(self, timesteps, guidance, critic_guidance, adversarial=0.0, features="critic", judging=0.01, **options):
        def make():
            steps = numbers(timesteps, int, "DMD", "timesteps")
            judge = {"adversarial": adversarial, "features": features, "judging": judging}
            score = ScoreOptions(timesteps=steps, guidance=guidance, critic_guidance=critic_guidance, **judge)
            return methods.dmd(ScoreMethodOptions(score=score, **options))

        return built("FewStepMethodDMD", make)


class FewStepMethodSum:
    TITLE = "FewStep Method Sum"
    DESCRIPTION = "first + weight x second: their losses in one run. Sampler and schedule are the first one's."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "first": (METHOD, {"tooltip": "Says how the student will be sampled."}),
                "second": (METHOD, {"tooltip": "Its turns and losses are added."}),
                "weight": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1000.0, "step": 0.01, "tooltip": "Of second."}),
            }
        }

    def build(self, first, second, weight):
        require(weight > 0, "FewStepMethodSum: weight 0 would train the second method for nothing. Disconnect it.")
        return (methods.total(first, second, weight),)


NODES = (FewStepMethodImagineFlash, FewStepMethodSwiftBrush, FewStepMethodDMD, FewStepMethodSum)
