"""Made rows for the sentences of the papers: what shows that a predicate can hold, fail and leave a sentence open.

A table has the real grid of its study, so that a predicate that selects cells which are not there finds nothing. The
cells that a sentence is not about speak against what is expected, so that one which selects the wrong cells is seen.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privlab.studies import STUDIES, Claim, Table
from privlab.studies.bench import sentence

Cell = Mapping[str, Any]
Numbers = Mapping[str, float | Sequence[float]]  # by metric: about so much in every draw, or one number a draw
DRAWS = 3
SPREADS = {"psnr": 0.02, "mean_image_psnr": 0.0, "active": 1e-4, "pixel_l2": 1e-6, "lowest_mse": 1e-11}
SPREADS |= {"seconds": 1e-6, "success_rate": 0.0}  # between draws; of other metrics a thousandth


def made(study: str, data: str, rest: Numbers, *changes: tuple[Cell, Numbers], **which: Any) -> Table:
    """Rows of every cell of a study, and of those beside it, on one data set: `rest`, but for what `changes` say.

    changes: settings, and the numbers in all cells that have them; later ones count. A number varies a little from draw
    to draw, otherwise in each change, so that differences do too; several numbers are one a draw. which: `draws`, how
    many; `large` (False leaves those cells out); `more`, cells that are in no grid of the study.
    """
    draws, own = which.get("draws", DRAWS), STUDIES[study]
    cells = [cell for cell in own.cells(data) if which.get("large", True) or not own.large(cell)]
    cells += [cell for other in own.beside for cell in STUDIES[other].cells(data)]
    cells += which.get("more", ())
    found: list[dict[str, Sequence[float]]] = [_drawn(rest, 0, draws) for _ in cells]
    for place, (settings, numbers) in enumerate(changes, 1):
        chosen = [i for i, cell in enumerate(cells) if settings.items() <= cell.items()]
        if not chosen:
            raise ValueError(f"{study} has no cell {settings} on {data}")
        for i in chosen:
            found[i] = {**found[i], **_drawn(numbers, place, draws)}
    return Table(
        [
            {"cell": cell, "seed": seed, "metrics": {metric: values[seed] for metric, values in numbers.items()}}
            for cell, numbers in zip(cells, found, strict=True)
            for seed in range(draws)
        ]
    )


def _drawn(numbers: Numbers, place: int, draws: int) -> dict[str, Sequence[float]]:
    found: dict[str, Sequence[float]] = {}
    for shift, (metric, value) in enumerate(numbers.items()):
        spread = SPREADS.get(metric, 1e-3)
        if isinstance(value, int | float):
            value = [value + spread * ((seed + place + shift) % DRAWS - 1) for seed in range(draws)]
        found[metric] = value
    return found


def wide(value: float, limit: float) -> tuple[float, float, float]:
    """Three draws on one side of a limit on average, but by only one and a half of their standard errors."""
    spread = 1.15 * abs(value - limit)
    return value - spread, value, value + spread


def few(table: Table, draws: int) -> Table:
    """The first draws alone."""
    return Table([row for row in table.rows if row["seed"] < draws])


@dataclass(frozen=True)
class Case:
    """A sentence, by its study and the beginning of its text, and tables by what is to be said of it.

    depends: a table, the settings in which it holds there, and those in which not; where a test answers for several.
    too_few: so many draws of a table in which it holds or does not show neither; 0 where an interval counts, not draws.
    """

    study: str
    text: str
    holds: Sequence[Table]
    fails: Sequence[Table]
    unsure: Sequence[Table]
    depends: tuple[Table, set[str], set[str]] | None = None
    too_few: int = 2

    def __str__(self) -> str:
        return f"{self.study} {self.text}"

    @property
    def claim(self) -> Claim:
        """The sentence. Raises ValueError where none begins so, or several do."""
        (found,) = [claim for claim in STUDIES[self.study].claims if claim.text.startswith(self.text)]
        return found

    def outcomes(self, table: Table) -> dict[str, sentence.Outcome]:
        """What the sentence's test says of a table, by setting."""
        return sentence.settings(self.claim.test(table))

    def tables(self) -> Iterable[tuple[str, Table]]:
        """What is expected, and of which table."""
        shown = [*((sentence.HOLDS, table) for table in self.holds), *((sentence.FAILS, table) for table in self.fails)]
        yield from shown
        yield from ((sentence.UNDECIDED, table) for table in self.unsure)
        if self.too_few:
            yield from ((sentence.UNDECIDED, few(table, self.too_few)) for _, table in shown)
        yield sentence.NOT_RUN, Table([])

    def wrong(self) -> list[str]:
        """The tables of which something else is said than was expected; none, if all is well."""
        found = []
        for number, (expected, table) in enumerate(self.tables()):
            outcomes = self.outcomes(table)
            if (said := sentence.verdict(outcomes)) != expected:
                found.append(f"table {number}: {said!r} in the place of {expected!r}: {outcomes}")
            if table.rows and (table.data is None or (self.claim.data and table.data not in self.claim.data)):
                found.append(f"table {number}: about {table.data}, which the sentence is not about")
        if self.depends:
            table, holds, fails = self.depends
            outcomes = self.outcomes(table)
            expected = {**dict.fromkeys(holds, True), **dict.fromkeys(fails, False)}
            if outcomes != expected or sentence.verdict(outcomes) != sentence.DEPENDS:
                found.append(f"the table on which it depends: {outcomes}")
        return found

    def untried(self) -> list[str]:
        """The verdicts that no table asks for."""
        asked = {"holds": self.holds, "does not hold": self.fails, "cannot tell": self.unsure}
        if self.holds and len(self.outcomes(self.holds[0])) > 1:
            asked["depends"] = self.depends or ()
        return [name for name, tables in asked.items() if not tables]


def of(paper: str) -> list[tuple[str, str]]:
    """The study and the text of every sentence of a paper."""
    return [
        (study.id, claim.text)
        for study in STUDIES.values()
        if study.id.startswith(f"{paper}/")
        for claim in study.claims
    ]


def judged(cases: Iterable[Case]) -> list[tuple[str, str]]:
    """The study and the text of every sentence that has a case."""
    return sorted((case.study, case.claim.text) for case in cases)


def badly_put(paper: str) -> list[str]:
    """The texts of a paper that have more than 25 words, stand somewhere twice, or lack what they were tested in."""
    every = [claim for study in STUDIES.values() for claim in study.claims]
    count, own = Counter(claim.text for claim in every), {text for _, text in of(paper)}
    return [
        claim.text
        for claim in every
        if claim.text in own and (len(claim.text.split()) > 25 or not claim.tested.strip() or count[claim.text] > 1)
    ]


def ladder(cells: Sequence[Cell], metric: str, steps: Sequence[float], start: float) -> list[tuple[Cell, Numbers]]:
    """Changes that let a metric begin with `start` in the first cell, and take one step from each to the next."""
    values = itertools.accumulate(steps, initial=start)
    return [(cell, {metric: value}) for cell, value in zip(cells, values, strict=True)]


def with_one(steps: int, usual: float, place: int, odd: float) -> list[float]:
    """So many numbers, all alike but for one."""
    return [odd if i == place else usual for i in range(steps)]
