import zipfile

import numpy as np
import pytest
from PIL import Image

from privlab.data import arrays, formats, pictures

from . import publishers


@pytest.mark.parametrize("shape", [(7,), (3, 28, 28), (2, 3, 4, 5)])
def test_idx_reads_what_was_written(shape):
    array = publishers.pixels(*shape)
    assert np.array_equal(formats.idx(publishers.idx(array)), array)


@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 3, 4, 5)])
def test_idx_of_whole_numbers_is_read_where_it_is_asked_for(shape):
    array = np.random.default_rng(0).integers(-(2**31), 2**31, shape)
    read = formats.idx(publishers.idx32(array), ">i4")
    assert np.array_equal(read, array)
    assert read.dtype == np.int32
    for raw, dtype in ((publishers.idx32(array), "u1"), (publishers.idx(array % 256), ">i4")):
        with pytest.raises(ValueError, match="not an IDX file of"):
            formats.idx(raw, dtype)
    with pytest.raises(ValueError, match="needs 8 bytes, has 7"):
        formats.idx(b"\0\0\x0c\x01\0\0\0\x02" + b"abcdefg", ">i4")


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04abcd", b"\0\0\x0d\x01\0\0\0\0"])
def test_idx_refuses_other_files(raw):
    with pytest.raises(ValueError, match="not an IDX file"):
        formats.idx(raw)


def test_idx_refuses_a_body_that_is_too_short():
    with pytest.raises(ValueError, match="needs 10 bytes, has 4"):
        formats.idx(b"\0\0\x08\x01\0\0\0\x0a" + b"abcd")


@pytest.mark.parametrize("coarse", [False, True])
def test_cifar_reads_pixels_and_fine_labels(tmp_path, coarse):
    images, labels = publishers.cifar(tmp_path / "c.tar.gz", coarse)
    read, numbers = formats.cifar(tmp_path / "c.tar.gz", "test")
    assert np.array_equal(read, images.transpose(0, 2, 3, 1))
    assert np.array_equal(numbers, labels)
    assert len(formats.cifar(tmp_path / "c.tar.gz", "train")[0]) == len(images) * (1 if coarse else 2)


def test_cifar_refuses_an_archive_without_batches(tmp_path):
    publishers.tar(tmp_path / "c.tar.gz", {"readme.txt": b"hello"})
    with pytest.raises(ValueError, match="holds no train batches"):
        formats.cifar(tmp_path / "c.tar.gz", "train")


def test_emnist_turns_characters_upright_and_counts_letters_from_zero(tmp_path):
    images, labels = publishers.emnist(tmp_path / "gzip.zip")
    read, numbers = formats.emnist(tmp_path / "gzip.zip", "letters", "train")
    assert np.array_equal(read[0], images[0].T)
    assert np.array_equal(numbers, labels - 1)


def test_omniglot_takes_each_image_once_and_a_user_is_a_drawer_of_one_alphabet(tmp_path):
    made = publishers.omniglot(tmp_path)
    images, labels, users, classes = formats.omniglot(sorted(tmp_path.glob("*.zip")))
    assert images.shape == (len(made), 105, 105) == (6, 105, 105)
    assert classes == ("Greek/character01", "Korean/character02", "Latin/character01")
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert users.tolist() == [0, 1, 2, 3, 4, 5]
    assert images[:, 0, 0].tolist() == [0, 9, 18, 27, 36, 45]


def test_imdb_yields_only_labelled_reviews_of_the_split(tmp_path):
    publishers.imdb(tmp_path / "a.tar.gz")
    assert [label for _, label in formats.imdb(tmp_path / "a.tar.gz", "train")] == [0, 1]
    assert list(formats.imdb(tmp_path / "a.tar.gz", "test")) == [("Lovely, unseen words", 1)]


def test_npz_names_what_is_missing(tmp_path):
    np.savez(tmp_path / "own.npz", train_images=publishers.pixels(2, 4, 4), train_labels=np.zeros(2))
    images, labels, _, about = arrays.npz(tmp_path / "own.npz", "train")
    assert images.shape == (2, 4, 4)
    assert len(labels) == 2
    assert about == {}
    with pytest.raises(ValueError, match=r"no val_images .* Choose split=train"):
        arrays.npz(tmp_path / "own.npz", "val")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"it has x\. Use the MedMNIST layout"):
        arrays.npz(tmp_path / "other.npz", "train")


def test_npz_executes_no_pickle(tmp_path):
    np.savez(tmp_path / "evil.npz", train_images=np.array([{}], dtype=object), train_labels=np.zeros(1))
    with pytest.raises(ValueError, match="train_images holds Python objects, which are not read"):
        arrays.npz(tmp_path / "evil.npz", "train")


def test_images_are_cropped_square_and_labelled_by_folder(tmp_path):
    for name, colour in (("cat/1.png", "red"), ("dog/2.png", "blue"), ("dog/notes.txt", None)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(publishers.png((60, 40), colour) if colour else b"no image")
    with pytest.warns(UserWarning, match=r"left out, as Pillow does not open them: 1 \(dog/notes\.txt\)"):
        found, labels, classes = pictures.images(tmp_path, 16)
    assert found.shape == (2, 16, 16, 3)
    assert classes == ("cat", "dog")
    assert labels.tolist() == [0, 1]
    assert tuple(found[0, 8, 8]) == (255, 0, 0)


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    inside = tmp_path / "one" / "two" / "inside"
    inside.mkdir(parents=True)
    with zipfile.ZipFile(inside / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.png", publishers.png((8, 8), "red"))
        archive.writestr("/absolute.png", publishers.png((8, 8), "red"))
    before = set(tmp_path.rglob("*"))
    found, _, _ = pictures.images(inside / "evil.zip", 8)
    assert len(found) == 2
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("size", "box"), [((60, 20), (20, 0, 40, 20)), ((20, 60), (0, 20, 20, 40))])
def test_the_middle_of_a_photograph_is_kept(tmp_path, size, box):
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", box)
    picture.save(tmp_path / "one.png")
    found, _, _ = pictures.images(tmp_path, 20)
    assert (found == (255, 0, 0)).all()


def test_what_a_mac_adds_to_a_zip_is_no_image_and_photographs_are_turned_upright(tmp_path):
    picture = Image.new("RGB", (20, 20), "blue")
    picture.paste("red", (0, 0, 20, 10))
    turned = picture.getexif()
    turned[0x0112] = 3  # stored upside down
    picture.save(tmp_path / "one.jpg", exif=turned, quality=95)
    (tmp_path / "._one.jpg").write_bytes(b"no image")
    found, _, _ = pictures.images(tmp_path, 20)
    assert len(found) == 1
    assert found[0, -3, 10, 0] > 200 > found[0, 3, 10, 0]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        pictures.images(tmp_path, 8)
