"""The claims that the shipped students can answer, and after them those whose arms are trained for it."""

from .claim import Arm, Claim, Rule, at, beats_both, mixtures, pairs_of
from .trained_claims import TRAINED_CLAIMS

BASE = Arm("", "dpmpp_2m", 25)
CORRECTED, PLAIN = at("Imagine Flash", "imagine_flash", 2, 3), at("Imagine Flash", "ddim", 2, 3)
TSCD, UNIFIED = at("TSCD", "tcd", 1, 2, 4, 8), at("TSCD + DMD", "tcd", 1, 2, 4, 8)
LCM = at("LCM-LoRA", "lcm", 1, 2, 4, 8)
FOUR, OWN_LEVELS = Arm("DMD2, 4 steps", "lcm", 4), Arm("DMD, 4 segments", "lcm", 4)
TWO_AND_THREE = at("DMD2, 4 steps", "lcm", 2, 3)
ONE = Arm("DMD2, 1 step", "lcm", 1)
FIRST_OF_FOUR, *MIXED = mixtures("DMD2, 1 step", "DMD2, 4 steps", "lcm", 1, 0.0, 0.25, 0.5, 0.75)

SHIPPED_CLAIMS = (
    Claim(
        "noise-correction",
        "Imagine Flash (Kohler et al. 2024), section 3.3",
        "Noise correction at the first step gives richer colour and contrast, the more the fewer the steps.",
        (*CORRECTED, *PLAIN),
        (
            *pairs_of("saturation", CORRECTED, PLAIN, larger=True),
            *pairs_of("contrast", CORRECTED, PLAIN, larger=True),
            *pairs_of("distance", CORRECTED, PLAIN),
        ),
        "At one step both are the same.",
    ),
    Claim(
        "below-the-teacher",
        "DMD2 (Yin et al. 2024)",
        "With an adversary on real pictures a student of four steps passes its teacher.",
        (FOUR, *TWO_AND_THREE, BASE),
        (*pairs_of("distance", (FOUR,), (BASE,)), Rule("recall", FOUR.name, BASE.name, larger=True)),
    ),
    Claim(
        "own-levels",
        "TDM (Luo et al. 2025) and docs/how-it-works.md: levels of its own for each step; guidance 1.5 instead of 2",
        "Trained further, each of four steps at its own levels, the student passes its teacher's fifty passes.",
        (OWN_LEVELS, FOUR, BASE),
        (
            Rule("distance", OWN_LEVELS.name, FOUR.name),
            Rule("distance", OWN_LEVELS.name, BASE.name),
            Rule("kid", OWN_LEVELS.name, BASE.name),
            Rule("recall", OWN_LEVELS.name, BASE.name, larger=True),
        ),
    ),
    Claim(
        "dmd-after-tscd",
        "Hyper-SD (Ren et al. 2024), section 3.3",
        "Distribution matching after TSCD makes the student's one step better and leaves its other steps usable.",
        (*TSCD, *UNIFIED),
        pairs_of("distance", UNIFIED[:1], TSCD[:1]),
    ),
    Claim(
        "tscd-against-lcm",
        "Hyper-SD (Ren et al. 2024)",
        "TSCD is better than LCM at 1, 2, 4 and 8 steps.",
        (*TSCD, *LCM),
        pairs_of("distance", TSCD, LCM),
    ),
    Claim(
        "merge",
        "SwiftBrush v2 (Dao et al. 2024), section 4.4",
        "A student between two parents is better than both.",
        (ONE, *MIXED, FIRST_OF_FOUR),
        beats_both("distance", MIXED, (ONE, FIRST_OF_FOUR)),
        "The parents are two DMD2 students here, not SwiftBrush's two schemes. One value of the sweep is enough.",
        sweep=True,
    ),
    Claim(
        "diversity",
        "users' first complaint of one-step students",
        "A one-step student's pictures of one caption are more alike than the base's.",
        (ONE, FOUR, BASE),
        (Rule("spread", ONE.name, BASE.name), Rule("spread", FOUR.name, BASE.name)),
    ),
)
CLAIMS = (*SHIPPED_CLAIMS, *TRAINED_CLAIMS)
