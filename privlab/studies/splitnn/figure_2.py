"""Figure 2: noise and NoPeek against the decoder."""

from privlab.studies.bench.sentence import MARGIN, Found, Outcome, both, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.splitnn._paper import ALPHAS, ATTACKED, NOISES, SMALL, attacked, run_attack, small, study

ADVERSARIES = {"naive": "who does not know of the noise", "noise_aware": "who knows of the noise"}
GUESSED = 0.2  # of the classes named: twice as often as by chance


def cells(name: str, size: int = 0) -> list[Cell]:
    """Noise and alpha alone, both together, and the adversaries who know of the noise."""
    cells = [attacked(name, size, alpha=alpha) for alpha in ALPHAS]
    for alpha in (0.0, 0.5):
        cells += [
            attacked(name, size, alpha=alpha, noise=noise, adversary=who)
            for noise in NOISES[1:]
            for who in ("naive", "noise_aware", "averaging")
        ]
    known = {"noise_in": "training", "adversary": "noise_aware"}
    return cells + [attacked(name, size, noise=noise, **known) for noise in (0.5, 1.0)]


def _way(table: Table, **settings: object) -> Cell:
    return small(table, **{"alpha": 0.0, "noise": 0.0, "noise_in": "release", "adversary": "naive", **settings})


def _destroyed(table: Table, noise: float) -> Found:
    """No better than a decibel above the mean of the adversary's images, and the class not named."""
    found: dict[str, Outcome] = {}
    for adversary, name in ADVERSARIES.items():
        cell = _way(table, noise=noise, adversary=adversary)
        image = [psnr - mean for psnr, mean in zip(*(table.values(m, **cell) for m in BLIND), strict=True)]
        named = table.values("class_accuracy", **cell)
        found[name] = both(told([1 - each for each in image]), told([GUESSED - each for each in named]))
    return found


def _generic(table: Table) -> Found:
    """With α = 0.5 less of the image is shown, by SSIM and by PSNR, and its class is named nearly as often."""
    plain, hidden = _way(table), _way(table, alpha=0.5)
    return both(
        told(table.gains("ssim", hidden, plain), 0.05),
        told(table.gains("psnr", hidden, plain), margin=MARGIN),
        told(table.gains("class_accuracy", plain, hidden), -0.05),
    )


def _together(table: Table) -> Found:
    """Both together leave less than either alone, by half a decibel and two standard errors."""
    found: dict[str, Outcome] = {}
    for adversary, name in ADVERSARIES.items():
        for noise in (0.5, 1.0):
            joint = _way(table, noise=noise, alpha=0.5, adversary=adversary)
            alone = [_way(table, noise=noise, adversary=adversary), _way(table, alpha=0.5)]
            steps = [told(table.gains("psnr", joint, each), margin=MARGIN) for each in alone]
            found[f"noise of {noise:g}, one {name}"] = both(*steps)
    return found


def _knowing_helps(table: Table) -> Found:
    """At each scale and weight the adversary who knows of the noise is no more than half a decibel worse."""
    ways = [{"noise": noise, "alpha": alpha} for noise in (0.5, 1.0) for alpha in (0.0, 0.5)]
    pairs = [(_way(table, **way), _way(table, **way, adversary="noise_aware")) for way in ways]
    return both(*(told(table.gains("psnr", *pair), -MARGIN) for pair in pairs))


BLIND = ("psnr", "mean_image_psnr")
STUDY = study(
    "figure-2",
    "Noise and NoPeek against the decoder",
    "figure 2",
    cells=cells,
    run=run_attack,
    knob="noise",
    metrics=ATTACKED,
    claims=(
        Claim(
            "Qualitatively, the reconstructions are completely destroyed at noise scale 1.0",
            "section 5",
            lambda table: _destroyed(table, 1.0),
            f"{SMALL}: less than a decibel better than the mean image, and the class named in less than a fifth",
        ),
        Claim(
            "noise scales which destroy reconstruction capability (≈ 0.5)",
            "appendix C.2",
            lambda table: _destroyed(table, 0.5),
            f"{SMALL}: less than a decibel better than the mean image, and the class named in less than a fifth; "
            "section 5 says itself that 0.5 retains the broad structure",
        ),
        Claim(
            "NoPeek hides a part of the image and leaves its class",
            "section 5",
            _generic,
            f"{SMALL}, a weight of 0.5: SSIM and PSNR fall, and the class is named as often, to five points",
            ours=True,
        ),
        Claim(
            "This qualitative analysis suggests that a combination of NoPeekNN and noise defence will produce a more "
            "robust defence",
            "section 5",
            _together,
            f"{SMALL}, a weight of 0.5 with noise: PSNR below that of either alone, by half a decibel",
        ),
        Claim(
            "To know of the noise is nowhere worse than not to",
            "a control",
            _knowing_helps,
            f"{SMALL}, noise of 0.5 and 1, weights of 0 and 0.5: PSNR, to half a decibel",
            ours=True,
        ),
    ),
)
