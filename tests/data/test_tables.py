"""Tables of records: the publishers' formats, small and made; the real files; what is cut off or altered."""

import csv
import os

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from privlab import data
from privlab.data import tables
from tests.data import publishers

PEOPLE = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Sales, Not-in-family, White, Male, 2174, 0, 40, Cuba, <=50K",
    "90, ?, 12285, HS-grad, 9, Divorced, ?, Husband, Black, Female, 0, 4356, 99, United-States, >50K",
)


def write_location(path, rows, quote='"'):
    lines = [f"{quote}{kind}{quote}," + ",".join(map(str, places)) for kind, places in rows]
    publishers.tar(path, {"bangkok": "\n".join(lines).encode()})


def test_location_is_read_as_it_was_written(tmp_path):
    places = np.random.default_rng(0).integers(0, 2, (3, 446))
    write_location(tmp_path / "l.tgz", [(kind, row) for kind, row in zip((1, 30, 7), places, strict=True)])
    values, labels, names = tables.location(tmp_path / "l.tgz")
    assert np.array_equal(values, places)
    assert labels.tolist() == [0, 29, 6]
    assert len(names) == 446


def test_adult_is_one_column_a_word_and_numbers_by_their_range(tmp_path):
    train, test = tmp_path / "adult.data", tmp_path / "adult.test"
    train.write_text("\n".join(PEOPLE) + "\n\n")
    strange = PEOPLE[0].replace("State-gov", "Never-worked").replace("<=50K", ">50K.")
    test.write_text(f"|1x3 Cross validator\n{strange}\n")
    values, labels, names = tables.adult(train, train)
    assert labels.tolist() == [0, 1]
    column = dict(zip(names, values.T, strict=True))
    assert column["age"].tolist() == pytest.approx([(39 - 17) / 73, 1.0])
    assert column["hours-per-week"].tolist() == pytest.approx([39 / 98, 1.0])
    assert column["workclass: ?"].tolist() == [0, 1]
    assert column["native-country: Cuba"].tolist() == [1, 0]
    values, labels, again = tables.adult(test, train)
    assert again == names
    assert labels.tolist() == [1]
    assert sum(value for name, value in zip(names, values[0], strict=True) if name.startswith("workclass")) == 0


PATIENTS = {
    "cleveland": [
        "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0",
        "28,0,4,0,603,?,1,202,1,-2.6,?,3,7,4",
    ],
    "hungarian": ["77,1,2,?,?,0,0,?,?,?,?,?,?,1"],
}


def write_heart(folder):
    folder.mkdir()
    for hospital in ("cleveland", "hungarian", "switzerland", "va"):
        lines = PATIENTS.get(hospital, PATIENTS["hungarian"])
        (folder / f"processed.{hospital}.data").write_text("\n".join(lines) + "\n")
    return [folder / f"processed.{hospital}.data" for hospital in PATIENTS]


def test_heart_disease_is_one_column_a_code_numbers_by_their_range_and_missing_a_feature(tmp_path):
    values, labels, names, hospitals = tables.heart(write_heart(tmp_path / "heart"))
    assert labels.tolist() == [0, 1, 1]
    assert hospitals.tolist() == [0, 0, 1]
    column = dict(zip(names, values.T.tolist(), strict=True))
    assert column["age"] == pytest.approx([35 / 49, 0, 1])
    assert column["cp: 1"] == [1, 0, 0]
    assert column["thal: 7"] == [0, 1, 0]
    assert column["oldpeak"] == pytest.approx([4.9 / 8.8, 0, 0])
    assert column["oldpeak: ?"] == [0, 0, 1]
    assert column["fbs: ?"] == [0, 1, 0]
    assert column["fbs: 1"] == [1, 0, 0]
    assert column["chol: ?"] == [0, 0, 1]
    for name in tables._HEART:
        of_it = [column[each] for each in names if each.startswith(f"{name}:")]
        codes = [sum(row) for row in zip(*of_it, strict=True)]
        assert codes == [1, 1, 1] if len(of_it) > 1 else max(codes) <= 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("63,1,1,145", "4 columns in its line 1, expected 14"),
        (PATIENTS["hungarian"][0][:-1] + "9", "another number than 0 to 4"),
        (PATIENTS["hungarian"][0][:-1] + "?", "another number than 0 to 4"),
        (PATIENTS["hungarian"][0].replace("77", "old"), "a word where a number belongs"),
    ],
)
def test_a_broken_hospital_says_what_is_wrong(tmp_path, line, words):
    paths = write_heart(tmp_path / "heart")
    paths[1].write_text(line)
    with pytest.raises(ValueError, match=f"{paths[1].name} .*{words}"):
        tables.heart(paths)


def test_hospitals_are_loaded_as_they_lie_in_the_file(real_data):
    """All 920, in the order of the files; what the files leave open stands in its own column and nowhere else."""
    found = real_data("heart-disease")
    assert found.users.bincount().tolist() == [303, 294, 123, 200]
    folder = os.environ["PRIVLAB_DATA"] + "/heart-disease/processed."
    rows = [
        row
        for hospital in ("cleveland", "hungarian", "switzerland", "va")
        for row in csv.reader(open(f"{folder}{hospital}.data"))  # noqa: SIM115
    ]
    assert found.labels.tolist() == [int(row[-1] != "0") for row in rows]
    for place, name in enumerate(tables._HEART):
        missing = found.values[:, found.features.index(f"{name}: ?")]
        assert missing.tolist() == [float(row[place] == "?") for row in rows]
    pressures = [float(row[3]) if row[3] != "?" else 0.0 for row in rows]
    assert np.allclose(found.values[:, found.features.index("trestbps")] * 200, pressures, atol=1e-4)
    one = found[found.users == 2]
    assert len(one) == len(one.users) == 123
    assert found.to("cpu").users is not None


def test_embedded_records_are_scikit_learns():
    found = data.load("tumours"), data.load("tumours", "test")
    assert [len(part) for part in found] == [456, 113]
    held = load_breast_cancer()
    low, high = held.data.min(0), held.data.max(0)
    first = (held.data[0] - low) / (high - low)
    assert np.allclose(found[0].values[0].numpy(), first, atol=1e-6)
    assert int(found[0].labels[0]) == held.target[0]
    assert found[0].sample(5, seed=1).values.shape == (5, 30)
    assert found[0].features[0] == "mean radius"


@pytest.mark.parametrize(
    ("name", "split", "shape"),
    [
        ("location30", "train", (5010, 446)),
        ("adult", "train", (32_561, 108)),
        ("adult", "test", (16_281, 108)),
        ("heart-disease", "train", (920, 38)),
    ],
)
def test_real_tables(real_data, name, split, shape):
    real_data(name)
    found = data.load(name, split)
    assert tuple(found.values.shape) == shape
    assert found.source == "publisher"
    assert (found.checksum, found.source) == data.fingerprint(name, split)
    assert 0 <= found.values.min() <= found.values.max() <= 1
    assert found.labels.unique().tolist() == list(range(len(found.classes)))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1, [0] * 445)], "446 columns in its line 1, expected 447"),
        ([(1, [2] * 446)], "other numbers than 0 and 1"),
        ([(1, ["x"] * 446)], "a word where a number belongs"),
        ([], "holds no line"),
    ],
)
def test_a_broken_location_says_what_is_wrong(tmp_path, rows, words):
    write_location(tmp_path / "l.tgz", rows)
    with pytest.raises(ValueError, match=words):
        tables.location(tmp_path / "l.tgz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("39, State-gov", "2 columns in its line 1, expected 15"),
        ("", "holds no line"),
        (PEOPLE[0].replace("39,", "old,"), "a word where a number belongs"),
        (PEOPLE[0].replace("<=50K", "rich"), "'rich', not <=50K or >50K"),
    ],
)
def test_a_broken_adult_says_what_is_wrong(tmp_path, text, words):
    path = tmp_path / "adult.data"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        tables.adult(path, path)


def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    monkeypatch.setenv("PRIVLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_table_cut_off_is_named_before_it_is_read(tmp_path, monkeypatch):
    place = folder(tmp_path, monkeypatch) / "adult"
    place.mkdir()
    (place / "adult.data").write_text(PEOPLE[0][:40])
    (place / "adult.test").write_text(PEOPLE[1])
    with pytest.raises(ValueError, match=r"adult\.data"):
        data.load("adult")


@pytest.mark.parametrize("name", ["tumours", "adult", "location30", "heart-disease"])
@pytest.mark.parametrize("setting", [{"size": 28}, {"words": 10}, {"length": 5}, {"channels": 3}])
def test_settings_of_images_and_text_are_refused(name, setting):
    with pytest.raises(ValueError, match="has no meaning"):
        data.load(name, **setting)


@pytest.mark.parametrize("name", ["location30", "heart-disease"])
def test_some_have_one_split(name):
    with pytest.raises(ValueError, match="one set"):
        data.load(name, "test")
