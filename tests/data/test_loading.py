import hashlib

import numpy as np
import pytest
import torch

from privlab import data
from privlab.data import fetch
from privlab.data.catalogue import CATALOGUE
from privlab.data.sums import Found

from . import publishers


def sums(folder, *names):
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.setenv("PRIVLAB_DATA", str(place))
    return place


@pytest.mark.parametrize(
    ("name", "options", "shape", "count"),
    [
        ("digits", {}, (1, 28, 28), 1438),
        ("patches", {}, (3, 32, 32), 1379),
        ("patches", {"size": 64}, (3, 64, 64), 323),
        ("patches", {"size": 224}, (3, 224, 224), 16),
    ],
)
def test_embedded_images_need_nothing_and_lie_on_the_8_bit_grid(name, options, shape, count):
    train, test = data.load(name, **options), data.load(name, "test", **options)
    assert train.shape == test.shape == shape
    assert len(train) == count
    assert train.source == "embedded"
    assert train.images.dtype == torch.float32
    assert 0 <= train.images.min() < train.images.max() <= 1
    assert torch.equal((train.images * 255).round() / 255, train.images)
    assert train.labels.max() < len(train.classes)
    seen = {image.tobytes() for image in train.pixels.numpy()}
    unseen = [image.tobytes() in seen for image in test.pixels.numpy()]
    assert sum(unseen) <= 0.1 * len(test)  # a few flat patches are alike; no picture is in both


def test_digits_are_the_originals_enlarged():
    from sklearn.datasets import load_digits

    original = torch.tensor(load_digits().images[:4] / 16, dtype=torch.float32)[:, None]
    enlarged = torch.nn.functional.interpolate(original, size=(28, 28), mode="bilinear", align_corners=False)
    inner = (..., slice(2, -2), slice(2, -2))  # the two continue an image beyond its edge differently
    torch.testing.assert_close(data.load("digits").images[:4][inner], enlarged[inner], rtol=0, atol=0.51 / 255)


def test_the_manual_is_left_padded_text():
    text = data.load("manual")
    assert text.tokens.shape == (len(text), 250)
    assert text.vocabulary[:2] == ("<pad>", "<unk>")
    assert text.tokens.max() < len(text.vocabulary) <= 10_000
    short = int((text.tokens == 0).sum(1).argmax())
    row = text.tokens[short]
    first = int((row != 0).nonzero()[0])
    assert not row[:first].any()
    assert row[first:].all()
    assert len(text.words(short).split()) == 250 - first


def test_idx_files_of_a_folder_are_checked_against_its_own_sums(folder):
    made = publishers.write_idx(folder / "mnist")
    names = [f"mnist/{path.name}" for path in (folder / "mnist").iterdir()]
    with pytest.raises(ValueError, match=r"expected md5:.* got md5:"):
        data.load("mnist")
    sums(folder, *names)
    train, test = data.load("mnist"), data.load("mnist", "test")
    assert np.array_equal(train.pixels[:, 0].numpy(), made["train"][0])
    assert np.array_equal(test.labels.numpy(), made["t10k"][1])
    assert train.source == "local copy"
    assert train.checksum != test.checksum
    assert data.fingerprint("mnist") == (train.checksum, train.source)
    with pytest.raises(ValueError, match="no split 'val'"):
        data.load("mnist", "val")


def test_an_altered_file_is_refused_with_both_checksums_and_left_alone(folder):
    path = folder / "cifar10.npz"
    np.savez(path, train_images=publishers.pixels(4, 32, 32, 3), train_labels=np.arange(4)[:, None])
    sums(folder, "cifar10.npz")
    assert data.load("cifar10").shape == (3, 32, 32)
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"x")
    bad = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"expected sha256:{good}, got sha256:{bad}"):
        data.load("cifar10")
    assert path.exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "emnist-letters", "imdb"])
def test_publishers_archives_are_read_where_a_folder_vouches_for_them(folder, name):
    file = CATALOGUE[name].files[0]
    path = folder / file.path
    path.parent.mkdir(exist_ok=True)
    makers = {"cifar10": lambda p: publishers.cifar(p, False), "cifar100": lambda p: publishers.cifar(p, True)}
    {**makers, "emnist-letters": publishers.emnist, "imdb": publishers.imdb}[name](path)
    sums(folder, file.path)
    loaded = data.load(name)
    assert len(loaded) == len(loaded.labels) > 0
    assert loaded.source == "local copy"


def test_imdb_takes_its_vocabulary_from_the_training_split(folder):
    publishers.imdb(folder / "aclImdb_v1.tar.gz")
    sums(folder, "aclImdb_v1.tar.gz")
    test = data.load("imdb", "test", length=6, words=20)
    assert test.tokens.tolist() == [[0, 0, 0, test.vocabulary.index("lovely"), 1, 1]]
    assert "unseen" not in test.vocabulary
    assert "br" not in test.vocabulary


@pytest.mark.parametrize("size", ["", "_64", "_128", "_224"])
def test_medmnist_is_read_at_every_size(folder, size):
    side = int(size[1:] or 28)
    path = folder / f"pathmnist{size}.npz"
    arrays = {f"{s}_images": publishers.pixels(2, side, side, 3) for s in ("train", "val", "test")}
    arrays |= {f"{s}_labels": np.array([[1], [8]]) for s in ("train", "val", "test")}
    np.savez(path, **arrays)
    sums(folder, path.name)
    loaded = data.load(f"pathmnist{size.replace('_', '-')}", "val")
    assert loaded.shape == (3, side, side)
    assert loaded.labels.tolist() == [1, 8]
    assert len(loaded.classes) == 9


def test_several_labels_an_image_stay_several(folder):
    np.savez(folder / "chestmnist.npz", train_images=publishers.pixels(3, 28, 28), train_labels=np.eye(3, 14))
    sums(folder, "chestmnist.npz")
    assert data.load("chestmnist").labels.shape == (3, 14)


def test_every_2d_medmnist_set_is_in_the_catalogue_at_four_sizes():
    from medmnist import INFO

    flat = [flag for flag in INFO if not flag.endswith("3d")]
    assert len(flat) == 12
    for flag in flat:
        assert CATALOGUE[flag].files[0].checksum == f"md5:{INFO[flag]['MD5']}"
        assert {f"{flag}-{size}" for size in (64, 128, 224)} <= set(CATALOGUE)


def test_a_file_of_ones_own_is_read_with_its_users(tmp_path):
    users = np.array([4, 4, 9])
    np.savez(tmp_path / "faces.npz", train_images=publishers.pixels(3, 8, 8), train_labels=users, train_users=users)
    own = data.load(str(tmp_path / "faces.npz"))
    assert own.users.tolist() == [4, 4, 9]
    assert own.name == "faces"
    assert own[1:].users.tolist() == [4, 9]


def test_a_folder_of_photographs_is_one_set_of_images(tmp_path):
    (tmp_path / "own").mkdir()
    for number, colour in enumerate(("red", "blue")):
        (tmp_path / "own" / f"{colour}_{number}.png").write_bytes(publishers.png((30, 20), colour))
    own = data.load(str(tmp_path / "own"), size=16)
    assert own.shape == (3, 16, 16)
    assert own.classes == ("blue", "red")
    with pytest.raises(ValueError, match="one set of images, taken as split='train'"):
        data.load(str(tmp_path / "own"), "test")


def test_what_is_not_here_says_where_it_was_looked_for_and_what_can_stand_in(folder):
    with pytest.raises(FileNotFoundError) as error:
        data.load("emnist-letters", download=False)
    for words in ("emnist/gzip.zip", str(folder), str(fetch.cache_folder()), "'digits' can stand in"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("cifar11",), {}, "neither a file nor a known data set"),
        (("digits", "validation"), {}, "choose one of train, val, test"),
        (("patches",), {"size": 100}, "choose one of 32, 64, 224"),
        (("manual",), {"words": 2}, "words=2"),
        (("manual",), {"length": 0}, "length=0"),
    ],
)
def test_bad_calls_are_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        data.load(*arguments, **options)


def test_a_data_folder_that_is_not_there_is_said_to_be_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="is not a folder; point it at your data or unset it"):
        data.load("mnist")


def test_a_file_that_is_no_data_set_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"give a \.npz in the MedMNIST layout"):
        data.load(str(tmp_path / "x.csv"))


def test_a_sample_is_without_replacement_and_repeatable():
    digits = data.load("digits")
    first, again, other = (digits.sample(200, seed) for seed in (0, 0, 1))
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)
    everything = digits.sample(len(digits), 3)
    assert sorted(everything.labels.tolist()) == sorted(digits.labels.tolist())
    with pytest.raises(ValueError, match="count=1439"):
        digits.sample(1439)


@pytest.mark.parametrize(
    ("name", "shape", "train", "source"),
    [
        ("mnist", (1, 28, 28), 60_000, "publisher"),
        ("mnist-writers", (1, 28, 28), 60_000, "publisher"),
        ("fashion-mnist", (1, 28, 28), 60_000, "publisher"),
        ("cifar10", (3, 32, 32), 12_500, "local copy"),
        ("cifar100", (3, 32, 32), 5_000, "local copy"),
        ("pneumoniamnist", (1, 28, 28), 4_708, "local copy"),
        ("olivetti", (1, 64, 64), 400, "local copy"),
        ("photos", (3, 224, 224), 467, "local copy"),
    ],
)
def test_real_images(real_data, name, shape, train, source):
    loaded = real_data(name)
    assert (loaded.shape, len(loaded), loaded.source) == (shape, train, source)
    assert len(set(loaded.labels.tolist())) == len(loaded.classes)


def test_real_reviews(real_data):
    reviews = real_data("imdb")
    assert reviews.tokens.shape == (5000, 250)
    assert len(reviews.vocabulary) == 10_000
    assert "the" in reviews.words(0).split()


@pytest.mark.parametrize("name", ["digits", "patches", "manual"])
def test_embedded_sets_have_no_validation_split(name):
    with pytest.raises(ValueError, match="no split 'val'; choose one of train, test"):
        data.load(name, "val")


def test_an_altered_file_of_the_cache_is_refused():
    for file in CATALOGUE["mnist"].files:
        path = fetch.cache_folder() / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"altered")
    with pytest.raises(ValueError, match="expected md5:"):
        data.load("mnist", download=False)


def test_one_local_file_makes_a_local_copy():
    from privlab.data.loading import _origin

    found = [Found(None, "a", "publisher"), Found(None, "b", "local copy")]
    assert _origin(found)[1] == "local copy"
    assert _origin(found[:1])[1] == "publisher"


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_patch_has_its_photographs_label(split):
    from privlab.data import embedded

    part = data.load("patches", split)
    for number, photograph in enumerate(embedded._PHOTOGRAPHS.values()):
        own = {patch.tobytes() for patch in embedded._cut_up(photograph(), 32)}
        for patch in part.pixels[part.labels == number]:
            assert patch.permute(1, 2, 0).contiguous().numpy().tobytes() in own


def test_the_profile_chooses_the_stand_in_or_what_it_stands_for(monkeypatch):
    assert data.of_profile("patches") == "patches"
    monkeypatch.setenv("PRIVLAB_PROFILE", "real")
    assert [data.of_profile(name) for name in ("patches", "digits", "manual")] == ["cifar10", "mnist", "imdb"]
    with pytest.raises(ValueError, match="choose one of digits, patches, manual"):
        data.of_profile("mnist")


def test_a_zip_beside_the_publishers_files_is_not_taken_for_them(folder):
    (folder / "cifar10.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match="'patches' can stand in"):
        data.load("cifar10", download=False)


@pytest.mark.parametrize(("name", "path"), [("cifar10", "cifar-10-binary.tar.gz"), ("photos", "photos.zip")])
def test_a_file_that_was_cut_off_says_so(folder, name, path):
    (folder / path).write_bytes(b"\x1f\x8b\x08\x00half")
    sums(folder, path)
    with pytest.raises(ValueError, match="was it cut off"):
        data.load(name)


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("PRIVLAB_CACHE", "")
    monkeypatch.setenv("PRIVLAB_DATA", "")
    assert fetch.cache_folder().is_absolute()
    assert fetch.local_folder() is None


@pytest.mark.parametrize(
    "name", ["mnist", "mnist-writers", "fashion-mnist", "omniglot", "pneumoniamnist", "cifar10", "imdb"]
)
def test_the_catalogue_knows_how_many_examples_there_are_as_published(real_data, name):
    """CIFAR-10 and IMDB are here in part."""
    here, published = len(real_data(name)), CATALOGUE[name].examples
    if name in ("cifar10", "imdb"):
        assert here < published
    else:
        assert here == published
