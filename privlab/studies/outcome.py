"""What measured numbers say of a sentence: that it holds, that it does not, or that one cannot tell."""

import statistics
from collections.abc import Sequence

Outcome = bool | str | None  # None: rows are missing
UNDECIDED = "cannot tell"  # the rows are there, and show neither the one nor the other
MARGIN = 0.5  # dB: what two trainings alike but for the seed may differ by


def told(differences: Sequence[float], by: float = 0.0, margin: float = 0.0) -> Outcome:
    """Whether differences, one a seed, lie above `by`: UNDECIDED where they do not all lie on one side of it, and
    where their mean is nearer to it than `margin`.
    """
    sides = {difference > by for difference in differences}
    if len(sides) > 1 or abs(statistics.fmean(differences) - by) < margin:
        return UNDECIDED
    return sides.pop()


def negated(found: Outcome) -> Outcome:
    """The opposite of what could be told."""
    return not found if isinstance(found, bool) else found


def both(*found: Outcome) -> Outcome:
    """Whether all of several hold: one that does not is enough to say no, then one that is missing or undecided."""
    return next((each for each in (False, None, UNDECIDED) if each in found), True)
