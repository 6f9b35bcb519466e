"""Whose an example is, of which session and when: the writers of MNIST, heartbeats, and arrays of one's own."""

import gzip
import struct

import numpy as np
import pytest
import torch

from privlab import cli, data
from privlab.data import fetch, formats
from privlab.data.sums import digest

from . import publishers, zoo


@pytest.fixture
def folder(monkeypatch, tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.setenv("PRIVLAB_DATA", str(place))
    return place


def trusted(folder):
    """The folder vouches for its files."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text("".join(f"{digest(p)}  {p.relative_to(folder).as_posix()}\n" for p in files))


# The writers of MNIST.


def test_a_digit_has_the_writer_of_its_row(folder):
    made = publishers.write_idx(folder / "mnist")
    rows = publishers.write_qmnist(folder / "qmnist", made)
    trusted(folder)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        found = data.load("mnist-writers", split)
        assert np.array_equal(found.pixels[:, 0].numpy(), made[prefix][0])
        assert found.users.dtype == torch.int64
        assert found.users.tolist() == rows[split][:5, 2].tolist()
        assert (found.checksum, found.source) == data.fingerprint("mnist-writers", split)
        assert found.checksum != data.load("mnist", split).checksum
        assert torch.equal(found[[3, 1]].users, found.users[[3, 1]])


def _rows(change):
    """QMNIST's rows for digits 0 to 4 of train, changed."""
    rows = np.array([[digit, 4, 9, 0, 0, 0, 0, 0] for digit in range(5)])
    return change(rows)


def _other(rows):
    rows[2:, 0] = 8
    return rows


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[:4], "holds 4 rows for 5 images of train; give QMNIST's of that split"),
        (lambda rows: rows.repeat(2, 0), "holds 10 rows for 5 images of train"),
        (lambda rows: rows[:, :5], r"is of shape \(5, 5\); give QMNIST's labels, \(N, 8\)"),
        (lambda rows: rows[:, 0], r"is of shape \(5,\)"),
        (_other, "has the digit 8 in its row 2, and MNIST's label of that image is 2; fetch both again"),
    ],
)
def test_labels_that_are_not_those_of_the_images_are_refused(folder, change, words):
    made = publishers.write_idx(folder / "mnist")
    publishers.write_qmnist(folder / "qmnist", made)
    path = folder / "qmnist" / "qmnist-train-labels-idx2-int.gz"
    path.write_bytes(publishers.idx32(_rows(change)))
    trusted(folder)
    with pytest.raises(ValueError, match=f"^{path} {words}"):
        data.load("mnist-writers")
    path.write_bytes(publishers.idx(np.zeros((5, 8))))
    trusted(folder)
    with pytest.raises(ValueError, match=f"^{path} .*not an IDX file of whole numbers"):
        data.load("mnist-writers")


def test_no_writer_of_mnist_is_in_both_splits(real_data):
    """Against the file's bytes: a row is 32 bytes from byte 12 on, its third number the writer."""
    parts = {split: real_data("mnist-writers", split) for split in ("train", "test")}
    for split, found in parts.items():
        raw = gzip.decompress((fetch.local_folder() / f"qmnist/qmnist-{split}-labels-idx2-int.gz").read_bytes())
        for row in (0, 1, 77, len(found) - 1):
            assert found.users[row] == struct.unpack(">8i", raw[12 + 32 * row : 44 + 32 * row])[2]
    writers = {split: found.users.unique(return_counts=True) for split, found in parts.items()}
    assert [len(writers[split][0]) for split in parts] == [539, 297]
    assert not set(writers["train"][0].tolist()) & set(writers["test"][0].tolist())
    assert (int(writers["train"][1].min()), int(writers["train"][1].max())) == (19, 131)
    assert torch.equal(parts["train"].pixels, real_data("mnist").pixels)


# Sessions and times of arrays of one's own.


def test_sessions_and_times_go_where_their_images_go(tmp_path):
    more = {"train_users": np.array([7, 7, 9, 9]), "train_sessions": np.array(["b", "a", "10", "b"])}
    found = data.load(str(zoo.npz(tmp_path / "own.npz", **more, train_times=np.array([[4], [3], [2], [1]]))))
    assert (found.sessions.tolist(), found.sessions.dtype) == ([2, 1, 0, 2], torch.int64)
    assert (found.times.tolist(), found.times.dtype) == ([4, 3, 2, 1], torch.int64)
    drawn = found.sample(3, seed=1).to("cpu")
    order = drawn.labels  # a label is its image's number here
    for field in ("users", "sessions", "times"):
        assert torch.equal(getattr(drawn, field), getattr(found, field)[order])
    single = data.load(str(zoo.npz(tmp_path / "b.npz", train_session=np.arange(4), train_time=np.arange(4) / 2)))
    assert (single.sessions.tolist(), single.times.tolist()) == ([0, 1, 2, 3], [0, 0.5, 1, 1.5])
    assert single.times.dtype == torch.float64
    assert single.users is None
    assert single[:2].users is None


@pytest.mark.parametrize(
    ("key", "values", "words"),
    [
        ("sessions", np.arange(3), r"int64 of shape \(3,\); give one whole number \(or string\) an image"),
        ("session", np.array([0, 0.5, 1, 2]), "holds 0.5, no whole number"),
        ("times", np.arange(5), r"int64 of shape \(5,\); give one finite number an image, \(4,\)"),
        ("times", np.eye(4), r"float64 of shape \(4, 4\); give one finite number"),
        ("times", np.array([0, np.nan, np.inf, 3]), r"with 2 values that are not finite \(NaN, inf\)"),
        ("time", np.array(list("abcd")), "is <U1 of shape .*for example seconds"),
        ("time", np.zeros(4, "datetime64[s]"), "is datetime64.*for example seconds"),
    ],
)
def test_sessions_and_times_are_checked_as_users_are(tmp_path, key, values, words):
    path = zoo.npz(tmp_path / "own.npz", **{f"train_{key}": values})
    with pytest.raises(ValueError, match=f"^{path}: train_{key} .*{words}"):
        data.load(str(path))


# Heartbeats: an array of them, or PhysioNet's records.


def write_beats(path, **changes):
    random = np.random.default_rng(0)
    made = {"label_names": np.array(list("NLRAV"))}
    for split, count in (("train", 6), ("test", 3)):
        made[f"{split}_images"] = random.integers(0, 2048, (count, 256)).astype(np.int16)
        made[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 5)[:, None]
        made[f"{split}_users"] = np.arange(100, 100 + count, dtype=np.int16)
        made[f"{split}_sample"] = np.arange(count, dtype=np.int32) * 360
    made = {name: value for name, value in (made | changes).items() if value is not None}
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **made)
    return made


def test_beats_are_signals_in_the_unit_interval_with_their_patients_and_times(folder):
    made = write_beats(folder / "mitbih" / "mitbih_beats.npz")
    for split in ("train", "test"):
        found = data.load("mitbih", split)
        assert isinstance(found, data.Signals)
        assert (found.shape, found.classes, found.source) == ((1, 256), tuple("NLRAV"), "local copy")
        assert np.allclose(found.images[:, 0].numpy() * 2047, made[f"{split}_images"], atol=1e-3)
        assert found.images.dtype == torch.float32
        assert found.users.tolist() == made[f"{split}_users"].tolist()
        assert found.times.tolist() == made[f"{split}_sample"].tolist()
        assert found.sessions is None
        assert (found.checksum, found.source) == data.fingerprint("mitbih", split)
    few = found.sample(2, seed=0).to("cpu")
    places = [found.times.tolist().index(time) for time in few.times.tolist()]
    assert torch.equal(few.values, found.values[places])
    assert torch.equal(few.labels, found.labels[places])
    assert len(few) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_users": None}, r" has no train_users; it has label_names, train_images"),
        ({"train_sample": None, "label_names": None}, " has no train_sample and no label_names"),
        ({"train_images": np.zeros((6, 256))}, r": train_images is float64 .* give whole numbers \(N, L\)"),
        ({"train_images": np.zeros((6, 16, 16), int)}, r": train_images is int64 of shape \(6, 16, 16\)"),
        ({"train_images": np.full((6, 256), 4000)}, " holds values from 4000 to 4000; give those of the converter"),
        ({"train_users": np.arange(5)}, r": train_users is int64 of shape \(5,\); give one whole number"),
        ({"train_users": np.linspace(0, 1, 6)}, ": train_users .*holds 0.2, no whole number"),
        ({"train_labels": np.arange(6)}, " holds labels from 0 to 5; mitbih has 5 classes"),
        ({"train_labels": np.array(list("NLRAVQ"))}, r" cannot be read \(KeyError: 'Q'\)"),
        ({"train_sample": np.full(6, np.nan)}, ": train_sample .* 6 values that are not finite"),
        ({"label_names": np.arange(5)}, ": label_names is int64 .* give the name of each class"),
    ],
)
def test_beats_of_another_form_are_refused(folder, changes, words):
    path = folder / "mitbih" / "mitbih_beats.npz"
    write_beats(path, **changes)
    with pytest.raises(ValueError, match=f"^{path}{words}"):
        data.load("mitbih")


def test_where_no_beats_are_it_is_said_how_to_come_by_them(folder, capsys):
    with pytest.raises(FileNotFoundError) as error:
        data.load("mitbih")
    words = "beats have to be cut|physionet.org|mitbih/mitbih_beats.npz|train_users|train_sample|label_names|(N, 256)"
    for word in words.split("|"):
        assert word in str(error.value)
    assert "can stand in" not in str(error.value)
    assert cli.main(["data", "list"]) == 0
    assert next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mitbih")).split()[1:5] == [
        *("your", "own", "here:", "no")
    ]
    assert cli.main(["data", "fetch", "mitbih"]) == 2
    assert "beats have to be cut" in capsys.readouterr().err


@pytest.mark.parametrize("option", [{"size": 28}, {"channels": 1}, {"words": 9}, {"length": 256}])
def test_settings_of_images_and_text_are_refused_for_beats(option):
    with pytest.raises(ValueError, match="has no meaning for mitbih"):
        data.load("mitbih", **option)


def wave(seed, length=4000):
    return np.random.default_rng(seed).integers(0, 2048, length)


def test_beats_are_cut_out_of_physionets_records(folder, monkeypatch):
    monkeypatch.setattr(formats, "_TRAIN", 6)  # seconds in place of twenty minutes
    other, first, second = wave(0), wave(1), wave(2, 3999)
    times = [
        (50, 28, b"(N\0"),
        (90, 1, b""),
        (100, 1, b""),
        (300, 14, b""),
        (500, 8, b"x"),
        (1900, 5, b""),
        (2200, 2, b""),
    ]
    publishers.record(folder / "mitbih", "100", {"MLII": first, "V5": other}, [*times, (3844, 3, b""), (3845, 1, b"")])
    publishers.record(folder / "mitbih", "202", {"V5": other[:3999], "MLII": second, "V1": second}, [(2000, 1, b"")])
    publishers.record(folder / "mitbih", "102", {"V5": other, "V2": other}, [(2000, 12, b"")])
    with pytest.warns(UserWarning, match="mitbih holds 3 of the 48 records of MIT-BIH"):
        train, test = data.load("mitbih"), data.load("mitbih", "test")
    assert [train.classes[label] for label in train.labels] == ["N", "A", "V", "N"]
    assert train.times.tolist() == [100, 500, 1900, 2000]
    assert train.users.tolist() == [100, 100, 100, 201]
    assert [test.classes[label] for label in test.labels] == ["L", "R"]
    assert test.times.tolist() == [2200, 3844]
    for found, signals in ((train, [first] * 3 + [second]), (test, [first] * 2)):
        for values, time, signal in zip(found.values, found.times.tolist(), signals, strict=True):
            assert np.array_equal((values[0].numpy() * 2047).round(), signal[time - 100 : time + 156])
    with pytest.warns(UserWarning, match="of the 48"):
        assert data.fingerprint("mitbih") == (train.checksum, "local copy")


def test_a_real_beat_has_its_peak_where_the_window_puts_it(real_data):
    beats = real_data("mitbih")
    peaks = beats.values[beats.labels == 0, 0].argmax(1)
    assert int(peaks.median()) == formats._BEFORE + 1
    assert len(beats.users.unique()) == 43
    assert 202 not in beats.users
    assert int(beats.times.max()) < 20 * 60 * 360 <= int(real_data("mitbih", "test").times.min())


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (lambda p: (p / "100.dat").write_bytes(b"short"), "100.dat", "needs 12000 bytes, has 5; was it cut off"),
        (lambda p: (p / "100.atr").write_bytes(b"\0\0"), "", "holds no beats of train; give whole records"),
        (lambda p: (p / "100.atr").unlink(), "100.atr", "is not there"),
        (lambda p: (p / "100.hea").write_text("100 two 360 4"), "100.hea", "holds|is of|cannot be read"),
        (lambda p: (p / "100.hea").write_text(""), "100.hea", "cannot be read .*IndexError"),
        (lambda p: publishers.record(p, "100", {"V5": wave(0)}, []), "100.hea", "is of 360 Hz, formats 212, leads V5;"),
        (lambda p: publishers.record(p, "100", {"MLII": wave(0)}, [], "250"), "100.hea", "is of 250 Hz.*at 360 Hz"),
        (
            lambda p: publishers.record(p, "100", {"MLII": wave(0)}, [], form="16"),
            "100.hea",
            "is of .*formats 16.* format 212",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*of the 48 records")
def test_a_record_that_is_none_is_named_with_what_is_wanted(folder, change, place, words):
    publishers.record(folder / "mitbih", "100", {"MLII": wave(0), "V5": wave(1)}, [(500, 1, b"")])
    change(folder / "mitbih")
    with pytest.raises((ValueError, FileNotFoundError), match=f"^{folder / 'mitbih' / place} ({words})"):
        data.load("mitbih")


def test_annotations_are_read_word_for_word():
    raw = bytes.fromhex("1270 03fc 284e0000 3b04 00ec 0100 0200 0420 04f0 1405 0000 ffff".replace(" ", ""))
    # 28 at 18 with a remark of three bytes; 1 after 59; then 65538 and 4 on, 8, with a number; 1 after 276; the end
    assert list(formats._annotations(raw)) == [(18, 28), (77, 1), (65_619, 8), (65_895, 1)]
