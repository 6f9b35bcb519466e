"""What data a study can be run on, and whether a data set is of that kind: said before any work begins."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from privlab.data import Dataset, Signals, Text

TEXTS = ("imdb", "manual")
MADE = ("gaussian",)  # what is no data set: a study draws it itself


@dataclass(frozen=True)
class Takes:
    """What data a study can be run on.

    kind: `images`, each with one label, `text`, `records`, a table or images of any form, `people`, images (of which
    users can be made) or signals with whose they are, or `made`, for what a study draws itself. least: how many
    examples at least, no two of them alike. side, widest: pixels of the shorter and of the longer side. channels: how
    many an image may have. classes: how many at least; of more than two, those beyond the commonest `classes` - 1 hold
    a fiftieth, so that samples have them. alike: how many images some class has at least.
    """

    kind: str = "images"
    least: int = 100
    side: int = 8
    widest: int = 256
    channels: tuple[int, ...] = (1, 3)
    classes: int = 2
    alike: int = 0

    def check(self, study_id: str, name: str, found: Any) -> None:
        """Raises ValueError, in words, for a data set that the study cannot take."""
        kind = {Text: "text", Dataset: "images", Signals: "signals"}.get(type(found), "tables")
        if self.kind == "made":
            if name not in MADE:
                raise ValueError(f"{study_id} takes what it draws itself, called {', '.join(MADE)}, and not {name!r}")
            return
        if self.kind == "people" and kind == "signals" and found.users is None:
            raise ValueError(f"{study_id} reads examples of people; {name!r} does not say whose its signals are")
        if kind in {"records": ("images", "signals", "tables"), "people": ("images", "signals")}.get(self.kind, ()):
            self._check_records(study_id, name, found)
            return
        if kind != self.kind:
            known = ", ".join(TEXTS) if self.kind == "text" else "those that `privlab data list` shows, or your own"
            raise ValueError(f"{study_id} reads {self.kind}; {name!r} holds {kind}. Sets of {self.kind}: {known}")
        if len(found) < self.least:
            raise ValueError(f"{study_id} needs {self.least} examples or more; {name!r} holds {len(found)}")
        if isinstance(found, Dataset):
            self._check_form(study_id, name, found)
            self._check_labels(study_id, name, found)

    def _check_records(self, study_id: str, name: str, found: Any) -> None:
        if len(found) < self.least:
            raise ValueError(f"{study_id} needs {self.least} records or more; {name!r} holds {len(found)}")
        if found.labels.dim() != 1 or len(found.labels.unique()) < 2:
            form = "several labels a record" if found.labels.dim() != 1 else "records of one class"
            raise ValueError(
                f"{study_id} takes records with one label each, of two classes or more; {name!r} has {form}"
            )

    def _check_form(self, study_id: str, name: str, found: Dataset) -> None:
        channels, *sides = found.shape
        bound = f"{self.widest} pixels wide or less" if max(sides) > self.widest else f"{self.side} pixels wide or more"
        if channels not in self.channels or min(sides) < self.side or max(sides) > self.widest:
            raise ValueError(
                f"{study_id} takes images of {' or '.join(map(str, self.channels))} channels, {bound}; "
                f"those of {name!r} are {channels}x{sides[0]}x{sides[1]}"
            )
        if (count := _different(found.pixels, self.least)) < self.least:
            raise ValueError(
                f"{study_id} needs {self.least} different images; {name!r} holds copies, and {count} without"
            )

    def _check_labels(self, study_id: str, name: str, found: Dataset) -> None:
        if found.labels.dim() != 1:
            raise ValueError(
                f"{study_id} takes images with one label each; those of {name!r} have {found.labels.shape[1]}"
            )
        low, high = int(found.labels.min()), int(found.labels.max())
        if low < 0 or high >= len(found.classes):
            raise ValueError(
                f"{study_id}: the labels of {name!r} go from {low} to {high}; of {len(found.classes)} classes they go "
                f"from 0 to {len(found.classes) - 1}"
            )
        counts = found.labels.unique(return_counts=True)[1].sort(descending=True).values
        if not enough(found.labels, self.classes):
            raise ValueError(
                f"{study_id} needs images of {self.classes} classes; {name!r} has "
                f"{len(counts)}, of {', '.join(map(str, counts[:5].tolist()))} images"
            )
        if counts[0] < self.alike:
            raise ValueError(
                f"{study_id} needs a class of {self.alike} images or more; the largest of {name!r} has {counts[0]}"
            )


def enough(labels: Tensor, classes: int) -> bool:
    """Whether there are so many classes, and of more than two, enough images of them that every sample has as many."""
    counts = labels.unique(return_counts=True)[1].sort(descending=True).values
    beyond = int(counts[classes - 1 :].sum())
    return beyond >= (len(labels) / 50 if classes > 2 else 1)


def _different(pixels: Tensor, enough: int) -> int:
    """How many images `(N, ...)` are not copies of others; counted no further than to `enough`."""
    seen: set[bytes] = set()
    for image in pixels:
        seen.add(image.cpu().numpy().tobytes())
        if len(seen) >= enough:
            break
    return len(seen)
