"""One sentence about one number in some cells: the tables in which it holds, fails, depends and is left open."""

from collections.abc import Mapping, Sequence

from privlab.studies import Table
from tests.studies.sentences import Case, Cell, Numbers, made


def about(
    study: str,
    text: str,
    cells: Mapping[str, Cell],
    numbers: tuple[str, float, float, Sequence[float]],
    *beside: tuple[Cell, Numbers],
    **rest: float,
) -> Case:
    """A case of a sentence that is told by one metric in each of its settings.

    cells: by setting the cell that is judged. numbers: the metric, a value of it by which the sentence holds there, one
    by which it fails, and draws that leave it open. beside: changes to the cells that these are held against. rest: the
    other metrics, in all cells. Every cell that the sentence is not about has the value that speaks against it.
    """
    metric, yes, no, doubt = numbers

    def table(value: float, other: float, *changes: tuple[Cell, Numbers]) -> Table:
        own = [(cell, {metric: value}) for cell in cells.values()]
        return made(study, "mnist", {**rest, metric: other}, *beside, *own, *changes)

    names = list(cells)
    some, others = set(names[::2]), set(names[1::2])
    mixed = table(yes, no, *((cells[name], {metric: no}) for name in others))
    return Case(
        study,
        text,
        holds=[table(yes, no)],
        fails=[table(no, yes)],
        unsure=[table(yes, no, (cell, {metric: doubt})) for cell in cells.values()],
        depends=(mixed, some, others) if others else None,
    )
