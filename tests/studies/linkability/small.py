"""A small federation of made users, whose body is hardly trained and whose attacks take few steps."""

import pytest

from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.studies.linkability import _defended, _federation

SEED = 100
CELL = {**_federation.cells_of("digits", {})[0], "users": 9, "rounds": 12, "fraction": 0.5}
CACHES = (_federation.people, _federation._devices, _federation._recorded, _defended._measured)


@pytest.fixture(scope="module")
def small():
    """For a whole file, which so makes its devices once; nothing of it is left to other files."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"STEPS": 100, "EPOCHS": 1, "SIAMESE_STEPS": 100}.items():
            patch.setattr(linkability, name, value)
        patch.setattr(metrics, "_AT_RANDOM", 60)
        inner = _federation.predictions.fit
        patch.setattr(_federation.predictions, "fit", lambda *which, **how: inner(*which, **{**how, "epochs": 3}))
        for each in CACHES:
            each.cache_clear()
        yield patch
    for each in CACHES:
        each.cache_clear()
