"""What a student is taught by, on what it makes itself: Imagine Flash, SwiftBrush, DMD; and sums of methods."""

from ..training import methods
from ..training.checks import require
from ..training.options import ReconstructionOptions, ScoreMethodOptions, ScoreOptions
from .methods import GUIDANCE, METHOD, WEIGHT, built, number, numbers, rate, text, whole


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
        start = "backward: the student's own rollout. forward: noised pictures, as its rivals do."
        shift = "Where the teacher starts: gamma(t), x_t itself (step distillation), random (ADD)."
        return {
            "required": {
                "timesteps": text("999, 666, 332", "The student's steps, falling."),
                "start": (["backward", "forward"], {"tooltip": start}),
                "shift": (["schedule", "none", "random"], {"tooltip": shift}),
                "gamma_max": number(900.0, (1.0, 999.0, 1.0), "gamma at t = 999."),
                "gamma_power": number(1.4, (0.1, 5.0, 0.1), "gamma_max (t / 999)^power."),
                "noise": (["own", "fresh"], {"tooltip": "fresh needs the adversarial loss: alone it blurs."}),
                "teacher_steps": whole(4, 50, "k, the teacher's steps."),
                "guidance": number(7.5, GUIDANCE, "cfg of the teacher."),
                "loss": (["l2", "huber"], {"tooltip": "The paper takes l2."}),
                "adversarial": number(0.0, (0.0, 10.0, 0.01), "0.1 is PCM's weight."),
                "discriminator_rate": rate(1e-5, "Learning rate of the discriminator."),
            }
        }

    def build(self, timesteps, discriminator_rate, **options):
        def make():
            steps = numbers(timesteps, int, "Imagine Flash", "timesteps")
            return methods.imagine_flash(ReconstructionOptions(timesteps=steps, **options), discriminator_rate)

        return built("FewStepMethodImagineFlash", make)


# What SwiftBrush and DMD have in common.
REAL, FAKE = "cfg of the real score (the teacher).", "cfg of the fake score (the critic)."
EVERY, CRITIC = "Critic turns per student turn.", "Learning rate of the critic's LoRA."
MSE = "Weight of an MSE to the teacher's own picture of the same noise. Costs regression_steps passes."
REGRESSION, REGRESSION_STEPS = number(0.0, WEIGHT, MSE), whole(8, 50, "DDIM steps of that picture.")
PICTURES = number(0.0, WEIGHT, "Weight of regularisation to the data's pictures.")


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
                "guidance": number(4.5, GUIDANCE, REAL),
                "critic_guidance": number(4.5, GUIDANCE, FAKE),
                "student_every": whole(1, 100, EVERY),
                "critic_rate": rate(1e-3, CRITIC),
                "regression_weight": REGRESSION,
                "regression_steps": REGRESSION_STEPS,
                "pictures": PICTURES,
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
        steps = "The student's steps: 999, 800 (Hyper-SD's U-Net), or 999, 749, 499, 249."
        against = "Weight of the adversarial loss against the data's pictures. DMD2: 0.001-0.005. 0: prompts alone."
        telling = "Weight of telling pictures apart in the critic's loss; for heads on the critic. DMD2: 0.01."
        return {
            "required": {
                "timesteps": text("999", steps),
                "guidance": number(7.5, GUIDANCE, REAL),
                "critic_guidance": number(1.0, GUIDANCE, FAKE),
                "student_every": whole(5, 100, EVERY),
                "critic_rate": rate(1e-4, CRITIC),
                "regression_weight": REGRESSION,
                "regression_steps": REGRESSION_STEPS,
                "pictures": PICTURES,
            },
            "optional": {  # added later: graphs saved before have no value for it
                "adversarial": number(0.0, WEIGHT, against),
                "features": (["critic", "teacher"], {"tooltip": "What the discriminator looks at. DMD2: its critic."}),
                "discriminator_weight": number(0.01, WEIGHT, telling),
            },
        }

    def build(self, timesteps, student_every, critic_rate, regression_weight, regression_steps, pictures, **score):
        def make():
            steps = numbers(timesteps, int, "DMD", "timesteps")
            options = {
                "regression_weight": regression_weight,
                "regression_steps": regression_steps,
                "pictures": pictures,
            }
            turns = {"student_every": student_every, "critic_rate": critic_rate}
            return methods.dmd(ScoreMethodOptions(score=ScoreOptions(timesteps=steps, **score), **turns, **options))

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
                "weight": number(1.0, (0.0, 1000.0, 0.01), "Of second."),
            }
        }

    def build(self, first, second, weight):
        require(weight > 0, "FewStepMethodSum: weight 0 would train the second method for nothing. Disconnect it.")
        return (methods.total(first, second, weight),)


NODES = (FewStepMethodImagineFlash, FewStepMethodSwiftBrush, FewStepMethodDMD, FewStepMethodSum)
