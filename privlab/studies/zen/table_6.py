"""Table 6: the decoder and the activation function."""

from privlab.studies.bench.study import Claim
from privlab.studies.zen._decoder import BOTH, HALF, plain_cell, printed, rises, study

STUDY = study(
    "table-6",
    "The decoder and the activation function",
    "Table 6",
    cells=lambda name: [plain_cell(name, activation=how) for how in ("relu", "tanh", "sigmoid")],
    data=BOTH,
    knob="activation",
    reported=printed("6"),
    claims=(
        Claim(
            "Tanh reveals less than ReLU",
            "Table 6",
            rises("psnr", "activation", "tanh", "relu"),
            f"PSNR, {HALF}",
            ours=True,
        ),
        Claim(
            "we found Sigmoid (logistic) activations to mitigate GD",
            "section 5.2",
            rises("psnr", "activation", "sigmoid", "relu", by=1),
            "PSNR a decibel and more below ReLU's, by two standard errors",
        ),
        Claim(
            "this may be due to the, on average, lower accuracy of models utilising this activation function",
            "section 5.2",
            rises("accuracy", "activation", "sigmoid", "relu", by=0.02),
            "an accuracy lower by two points, by two standard errors; not that it is the reason",
        ),
    ),
)
