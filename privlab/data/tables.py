"""Readers of publishers' tables: Location-30, Adult and heart disease."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# adult.names: what stands in each column; those with a range are numbers, scaled to [0, 1] by it.
_ADULT: dict[str, tuple[int, int] | None] = {"age": (17, 90), "workclass": None, "fnlwgt": (12_285, 1_490_400)}
_ADULT |= {"education": None, "education-num": (1, 16), "marital-status": None, "occupation": None}
_ADULT |= {"relationship": None, "race": None, "sex": None, "capital-gain": (0, 99_999), "capital-loss": (0, 4356)}
_ADULT |= {"hours-per-week": (1, 99), "native-country": None}
_PLACES = 446
# heart-disease.names, section 7: the codes that it lists; of a number its range in the four files.
_HEART: dict[str, tuple[float, float] | str] = {"age": (28, 77), "sex": "01", "cp": "1234", "trestbps": (0, 200)}
_HEART |= {"chol": (0, 603), "fbs": "01", "restecg": "012", "thalach": (60, 202), "exang": "01"}
_HEART |= {"oldpeak": (-2.6, 6.2), "slope": "123", "ca": (0, 3), "thal": "367"}


def location(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Values `(N, 446)` of 0 and 1, labels from 0, and the features' names, from the publisher's archive of
    Location-30.

    Each line is a person: the kind of person in quotes, from "1", then whether they were at each kind of place.
    """
    with tarfile.open(path) as archive:
        member = next((each for each in archive.getmembers() if each.isfile()), None)
        if member is None:
            raise ValueError(f"{path} holds no file; fetch it again")
        lines = archive.extractfile(member).read().decode("ascii").split()  # type: ignore[union-attr]
    rows = _numbers(path, [line.replace('"', "").split(",") for line in lines], 1 + _PLACES)
    values = rows[:, 1:]
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"{path} holds other numbers than 0 and 1 for places; fetch it again")
    return values.astype(np.float32), rows[:, 0].astype(np.int64) - 1, tuple(f"place {i}" for i in range(_PLACES))


def adult(path: Path, train: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Values `(N, F)` in [0, 1], labels (1: over 50K), and the features' names, of `adult.data` or `adult.test`.

    Numbers are scaled by the ranges of `adult.data`, words are one feature each (`?`, not known, too), in the order of
    the alphabet and as found in `train`, `adult.data`; a word that is only elsewhere leaves its features at 0.
    """
    columns = list(zip(*_records(path), strict=True))
    known = columns if path == train else list(zip(*_records(train), strict=True))
    parts, names = [], []
    for place, (name, span) in enumerate(_ADULT.items()):
        if span is not None:
            found = _numbers(path, [[value] for value in columns[place]], 1)
            parts.append((found - span[0]) / (span[1] - span[0]))
            names.append(name)
        else:
            words = sorted(set(known[place]))
            parts.append(np.array(columns[place])[:, None] == np.array(words))
            names += [f"{name}: {word}" for word in words]
    incomes = [income.rstrip(".") for income in columns[-1]]  # adult.test ends its lines with a stop
    if not set(incomes) <= {"<=50K", ">50K"}:
        raise ValueError(f"{path} ends a line with {sorted(set(incomes) - {'<=50K', '>50K'})[0]!r}, not <=50K or >50K")
    values = np.concatenate(parts, 1).clip(0, 1)
    return values.astype(np.float32), np.array([income == ">50K" for income in incomes]).astype(np.int64), tuple(names)


def heart(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray]:
    """Values `(N, F)` in [0, 1], labels (1: a vessel narrowed by more than half), the features' names, and of which
    file, from 0, each record is.

    Numbers are scaled by the ranges of the four hospitals' files, codes are one feature each. Each attribute has a
    feature more, which is 1 where it is missing (`?`), and its others are 0 there: nothing is filled in. Blood
    pressures and cholesterols of 0, which nobody has, are left as published.
    """
    files = []
    for path in paths:
        rows = [[word.replace("?", "nan") for word in row] for row in _records(path, len(_HEART) + 1)]
        files.append(_numbers(path, rows, len(_HEART) + 1))
        if not np.isin(files[-1][:, -1], range(5)).all():
            raise ValueError(f"{path} ends a line with another number than 0 to 4; fetch it again")
    table, parts, names = np.concatenate(files), [], []
    for (name, known), column in zip(_HEART.items(), table.T, strict=False):
        if isinstance(known, str):
            parts += [column == int(code) for code in known]
            names += [f"{name}: {code}" for code in known]
        else:
            parts.append((np.nan_to_num(column, nan=known[0]) - known[0]) / (known[1] - known[0]))
            names.append(name)
        parts.append(np.isnan(column))
        names.append(f"{name}: ?")
    values, hospitals = np.stack(parts, 1).clip(0, 1), np.repeat(np.arange(len(files)), [len(each) for each in files])
    return values.astype(np.float32), (table[:, -1] > 0).astype(np.int64), tuple(names), hospitals


def _records(path: Path, width: int = len(_ADULT) + 1) -> list[list[str]]:
    """The lines of a file of Adult (but for its remark) or of heart disease, in columns."""
    lines = [line for line in path.read_bytes().decode("utf-8").splitlines() if line.strip()]
    records = [[word.strip() for word in line.split(",")] for line in lines if not line.startswith("|")]
    _check_width(path, records, width)
    return records


def _numbers(path: Path, rows: Sequence[Sequence[str]], width: int) -> np.ndarray:
    _check_width(path, rows, width)
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path} holds a word where a number belongs ({error}); fetch it again") from error


def _check_width(path: Path, rows: Sequence[Sequence[str]], width: int) -> None:
    if not rows:
        raise ValueError(f"{path} holds no line; fetch it again")
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise ValueError(f"{path} has {len(row)} columns in its line {number}, expected {width}; was it cut off?")
