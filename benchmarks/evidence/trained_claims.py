"""The claims whose arms are trained for it: equal data, seeds and steps, and one thing that differs (students.py)."""

from .claim import Arm, Claim, Rule, at, beats_both, mixtures, pairs_of

FLASH, HYPER, BRUSH = (
    "Imagine Flash (Kohler et al. 2024)",
    "Hyper-SD (Ren et al. 2024)",
    "SwiftBrush v2 (Dao et al. 2024)",
)
BACKWARD = at("backward, shifted", "imagine_flash", 2, 3)
FORWARD, UNSHIFTED = at("forward, shifted", "imagine_flash", 2, 3), at("backward, plain target", "imagine_flash", 2, 3)
TSCD, TCD = at("TSCD, k = 8 4 2 1", "tcd", 1, 2, 4, 8), at("TCD, k = 1", "tcd", 1, 2, 4, 8)
ADVERSARY = at("TSCD with an adversary", "tcd", 1, 2, 4, 8)
SKIP, NO_SKIP = at("LCM, skip 20", "lcm", 2, 4), at("LCM, skip 1", "lcm", 2, 4)
TURBO, PLAIN, CLAMPED, NAIVE, FEW, STRONG, UNGUIDED = (
    Arm(f"SwiftBrush, {how}", "lcm", 1)
    for how in ("turbo-like start", "plain start", "clamped", "naive", "32 prompts", "guidance 4.5", "critic unguided")
)
BETWEEN = mixtures(TURBO.student, CLAMPED.student, "lcm", 1, 0.25, 0.5, 0.75)
AFTER, HALF, ALONE = (Arm(student, "tcd", 1) for student in ("TSCD, then DMD", "TSCD, half the steps", "DMD alone"))
TDM, DMD_AT_FOUR = Arm("TDM", "ddim", 4), Arm("DMD at four timesteps", "lcm", 4)

TRAINED_CLAIMS = (
    Claim(
        "backward",
        f"{FLASH}, section 3.1 and table of ablations (3 steps: FID 35.5, forward 44.2)",
        "Backward distillation, on the student's own rollout, is better than forward, on the noised image.",
        (*BACKWARD, *FORWARD),
        (
            *pairs_of("distance", BACKWARD, FORWARD),
            *pairs_of("alignment", BACKWARD, FORWARD, larger=True),
        ),
        equation="x_t is the student's own, x_T -> t, or q(x0, eps, t). || sg x0_teacher^k(q(x0_s, eps, gamma(t))) "
        "- x0_s ||^2 with x0_s = x0_student(x_t) in both.",
    ),
    Claim(
        "shifted-target",
        f"{FLASH}, section 3.2 and table of ablations (3 steps: FID 35.5, without 45.9; CLIP 30.2, without 25.7)",
        "The shifted reconstruction loss is better than a target that the teacher makes from x_t.",
        (*BACKWARD, *UNSHIFTED),
        (
            *pairs_of("distance", BACKWARD, UNSHIFTED),
            *pairs_of("alignment", BACKWARD, UNSHIFTED, larger=True),
        ),
        equation="The teacher starts from q(x0_s, eps, gamma(t)), gamma(t) = 900 (t / 999)^1.4, or from x_t. The paper "
        "gives no gamma.",
    ),
    Claim(
        "tscd-against-tcd",
        f"{HYPER}, section 3.1, algorithm 1, and its ablation (TSCD ahead at 2 steps most, at 8 not)",
        "Consistency by segments, k = 8, 4, 2, 1, is better than one stage at equal steps.",
        (*TSCD, *TCD),
        (*pairs_of("distance", TSCD, TCD), *pairs_of("alignment", TSCD, TCD, larger=True)),
        "Neither has an adversary. A phase of four has a quarter of the steps.",
        equation="d( Psi(x_tn, f, t_end), sg Psi(x^_tn-1, f-, t_end) ), t_end drawn in [t_b, t_n-1], t_b the floor of "
        "one of k segments.",
    ),
    Claim(
        "skip",
        "LCM (Luo et al. 2023), section 4.3",
        "Skipping 20 timesteps learns much faster than skipping 1.",
        (*SKIP, *NO_SKIP),
        pairs_of("distance", SKIP, NO_SKIP),
        "At a rate of 3e-4. At 1e-3, the first try, four steps had 31.5 and 38.0 of skip 20, 87.3 and 28.3 of skip 1 "
        "(seeds 11 and 12): neither was stable.",
        equation="d( f(z_n+k), sg f(z^_n) ) with k = 20 or 1, z^_n by one guided DDIM step over k timesteps.",
    ),
    Claim(
        "clamped",
        f"{BRUSH}, section 4 and table 5 (FID: naive 21.3, none 14.6, clamped 13.2; CLIP .337, .297, .319)",
        "The alignment loss clamped and fading is nearer to real pictures than the naive one, which is better aligned.",
        (TURBO, CLAMPED, NAIVE),
        (
            Rule("distance", CLAMPED.name, NAIVE.name),
            Rule("distance", CLAMPED.name, TURBO.name),
            Rule("alignment", NAIVE.name, CLAMPED.name, larger=True),
            Rule("alignment", CLAMPED.name, TURBO.name, larger=True),
            Rule("saturation", NAIVE.name, CLAMPED.name, larger=True),
        ),
        "The LiT score stands for CLIP. Alignment is what both arms optimise: it shows that they do, and no quality.",
        equation="w max(0, tau - cos(image, caption)), tau = 0.25, w falling from 1 to 0 (clamped); w (1 - cos), w = 1 "
        "(naive).",
    ),
    Claim(
        "turbo-start",
        f"{BRUSH}, section 4 and table 5 (FID 15.5 to 14.6, recall .46 to .55)",
        "Started from a one-step student that an adversary trained, SwiftBrush ends better than from the teacher.",
        (TURBO, PLAIN),
        (
            Rule("distance", TURBO.name, PLAIN.name),
            Rule("recall", TURBO.name, PLAIN.name, larger=True),
            Rule("alignment", TURBO.name, PLAIN.name, larger=True),
        ),
        "As in the paper, the training behind the start is not counted; both are asked at t = 500 with unit noise.",
        equation="grad = s_t^2 (eps_fake - eps_real) dx0/dtheta (equation 4), theta from the shipped one-step student "
        "or from the base.",
    ),
    Claim(
        "swiftbrush-merge",
        f"{BRUSH}, section 4 and figure 7 (FID 11.3 and 11.0, between them 8.8)",
        "A mixture of the student without and the one with the alignment loss is better than both.",
        (TURBO, *BETWEEN, CLAMPED),
        beats_both("distance", BETWEEN, (TURBO, CLAMPED)),
        "The paper's first student has whole weights and its second a LoRA; here both are LoRAs from one start. One "
        "value of the sweep is enough.",
        equation="theta = lambda theta_A + (1 - lambda) theta_B, lambda = 0.25, 0.5, 0.75.",
        sweep=True,
    ),
    Claim(
        "prompts",
        f"{BRUSH}, section 4 and table 5 (1.3 to 3.3 million prompts: FID 14.6 to 11.3)",
        "More prompts make a better student.",
        (TURBO, FEW),
        (Rule("distance", TURBO.name, FEW.name), Rule("precision", TURBO.name, FEW.name, larger=True)),
        equation="E over 2,172 prompts or over 32 of them.",
    ),
    Claim(
        "guidance",
        f"{BRUSH}, its table of results (the teacher at 2, 4.5, 7.5: FID 9.6, 12.3, 15.9, recall .53, .41, .36)",
        "A higher guidance of the scores buys precision with recall and distance.",
        (TURBO, STRONG),
        (
            Rule("distance", TURBO.name, STRONG.name),
            Rule("recall", TURBO.name, STRONG.name, larger=True),
            Rule("precision", STRONG.name, TURBO.name, larger=True),
        ),
        equation="eps = eps(0) + g (eps(c) - eps(0)) of both scores, g = 2 or 4.5.",
    ),
    Claim(
        "equal-guidance",
        "the fixed point of the score difference (docs/how-it-works.md), against SwiftBrush's code, which guides alike",
        "Scores guided alike draw a guided student back to the unguided teacher; with the critic unguided they do not.",
        (UNGUIDED, TURBO),
        (
            Rule("distance", UNGUIDED.name, TURBO.name),
            Rule("precision", UNGUIDED.name, TURBO.name, larger=True),
            Rule("alignment", UNGUIDED.name, TURBO.name, larger=True),
        ),
        equation="g D(c) + (1 - g) D(0) of both scores: g = 1.5 of the teacher's and 1 of the critic's, or 2 of both.",
    ),
    Claim(
        "tscd-then-dmd",
        f"{HYPER}, section 3.3 and appendix D (1 step, CLIP: DMD 32.4, TSCD + DMD 32.6)",
        "Distribution matching after TSCD is better at one step than either alone.",
        (AFTER, HALF, TSCD[0], ALONE),
        (
            Rule("distance", AFTER.name, TSCD[0].name),
            Rule("distance", AFTER.name, ALONE.name),
        ),
        "Half the steps each, against all steps of either.",
        equation="(x0_fake - x0_real) / mean |x0 - x0_real| at t = 999, from the TSCD LoRA or from the base.",
    ),
    Claim(
        "adversary",
        f"{HYPER}, section 3.1: MSE for k = 8, 4, the adversarial loss for 2, 1 (no table)",
        "An adversary in the last two phases is better at few steps than the distance alone.",
        (*ADVERSARY, *TSCD),
        pairs_of("distance", ADVERSARY, TSCD),
        "The distance stays beside it.",
        equation="d + 0.1 relu(1 - D(predicted)), D against the target's jump, at k = 2 and 1.",
    ),
    Claim(
        "tdm-against-dmd",
        "TDM (Luo et al. 2025), abstract (ahead of existing methods on SDXL and PixArt)",
        "At four steps, matching every step of the trajectory in its own levels is better than DMD at the same steps.",
        (TDM, DMD_AT_FOUR),
        (
            Rule("distance", TDM.name, DMD_AT_FOUR.name),
            Rule("alignment", TDM.name, DMD_AT_FOUR.name, larger=True),
        ),
        "Same timesteps (899, 674, 449, 224), rates and turns, both from the base. DMD2's own adversary is left out.",
        equation="x0 + x0_real - x0_fake at tau in s..t of the step from t to s, Huber; or (x0_fake - x0_real) / mean "
        "|x0 - x0_real| at any tau.",
    ),
)
