"""Every loader over the files that people bring: the right values, or the file's name, what it holds and what to do."""

import io
import os
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from privlab import data

from . import zoo

RED, BLUE = zoo.plain("red"), zoo.plain("blue")


@pytest.fixture(autouse=True)
def _no_other_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def load(path, **options):
    return data.load(str(path), **options)


# Pictures: what each is after loading.


@pytest.mark.parametrize("name", zoo.RAMPS)
def test_a_grey_ramp_is_256_levels_of_grey_whatever_the_format(tmp_path, name):
    found = load(zoo.folder(tmp_path, {name: zoo.RAMPS[name]()}), size=16)
    assert found.shape == (1, 16, 16)
    assert np.array_equal(found.pixels[0, 0].numpy(), zoo.RAMP8)


@pytest.mark.parametrize(("mode", "left"), [("RGBA", (255, 0, 0)), ("P", (255, 0, 0)), ("LA", (76, 76, 76))])
def test_what_is_transparent_lies_on_white(tmp_path, mode, left):
    found = load(zoo.folder(tmp_path, {"a.png": zoo.transparent(mode)}), size=16, channels=3)
    assert found.pixels[0, :, 8, 2].tolist() == list(left)
    assert found.pixels[0, :, 8, 13].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("name", "content", "colour"),
    [
        ("a.jpg", zoo.plain((0, 255, 255, 0), "CMYK", kind="JPEG", quality=100), (255, 0, 0)),
        ("a.jpg", zoo.plain((76, 85, 255), "YCbCr", kind="JPEG", quality=100), (255, 0, 0)),
        ("a.tif", zoo.plain((0, 255, 255, 0), "CMYK", kind="TIFF"), (255, 0, 0)),
        ("a.ppm", zoo.plain("red", kind="PPM"), (255, 0, 0)),
        ("a.png", zoo.plain(1, "1"), (255,)),
    ],
)
def test_other_colours_become_red_green_and_blue(tmp_path, name, content, colour):
    found = load(zoo.folder(tmp_path, {name: content}), size=16)
    assert found.pixels[0, :, 8, 8].tolist() == pytest.approx(list(colour), abs=3)


def test_sixteen_bits_a_colour_keep_their_upper_eight(tmp_path):
    found = load(zoo.folder(tmp_path, {"a.png": zoo.colour16()}), size=16)
    assert np.array_equal(found.pixels[0, 0].numpy(), zoo.RAMP8)
    assert found.pixels[0, 1].unique().tolist() == [128]


def test_sixteen_bits_that_hold_twelve_are_told_of(tmp_path):
    zoo.folder(tmp_path, {"x.png": zoo.encoded(Image.fromarray(zoo.RAMP8.astype(np.uint16) * 16))})
    with pytest.warns(UserWarning, match=r"16 bits of which the upper four are empty.*x\.png"):
        assert load(tmp_path, size=16).pixels.max() == 15


@pytest.mark.parametrize(("name", "kind"), [("a.gif", "GIF"), ("a.tif", "TIFF"), ("a.png", "PNG"), ("a.webp", "WEBP")])
def test_of_several_frames_the_first_is_taken(tmp_path, name, kind):
    zoo.folder(tmp_path, {name: zoo.frames(kind)})
    with pytest.warns(UserWarning, match=rf"several frames .* the first was taken: 1 \({name}\)"):
        assert load(tmp_path, size=16).pixels.float().mean() == pytest.approx(10, abs=2)


def test_a_picture_is_turned_upright(tmp_path):
    found = load(zoo.folder(tmp_path, {"a.png": zoo.turned()}), size=16)
    assert found.pixels[0, 0, [2, 13], 8].tolist() == [0, 255]


@pytest.mark.parametrize("name", zoo.BROKEN)
def test_a_broken_picture_is_named_with_what_to_do(tmp_path, name):
    make, words = zoo.BROKEN[name]
    zoo.folder(tmp_path / "f", {name: make(), "good.png": RED})
    zoo.packed(tmp_path / "f.zip", {name: make(), "good.png": RED})
    for path in (tmp_path / "f", tmp_path / "f.zip"):
        with pytest.raises(ValueError, match=f"^{path}: 1 of 2 pictures: {words}"):
            load(path)


def test_many_broken_pictures_are_named_together(tmp_path):
    zoo.folder(tmp_path, {f"{number:02}.png": b"" for number in range(20)})
    with pytest.raises(ValueError, match=r"20 of 20 pictures: 00\.png is empty.* 05\.png .* and 14 more"):
        load(tmp_path)


def test_links_to_nothing_and_files_of_others_are_named(tmp_path, monkeypatch):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"link\.png is not there, or is a link to nothing"):
        load(tmp_path)
    (tmp_path / "link.png").unlink()
    zoo.folder(tmp_path, {"a.png": RED})

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(ValueError, match=r"a\.png may not be read by you"):
        load(tmp_path)


def test_a_link_that_goes_round_and_a_pipe_are_passed_by(tmp_path):
    zoo.folder(tmp_path / "f", {"cat/1.png": RED, "dog/1.png": BLUE})
    (tmp_path / "f" / "cat" / "round").symlink_to(tmp_path / "f")
    os.mkfifo(tmp_path / "f" / "cat" / "pipe.png")
    (tmp_path / "f" / "fox").symlink_to(zoo.folder(tmp_path / "elsewhere", {"1.png": BLUE}))
    assert load(tmp_path / "f", size=8).classes == ("cat", "dog", "fox")


# Colour or grey.


def test_colour_and_grey_together_are_colour(tmp_path):
    found = load(zoo.folder(tmp_path, {"a.png": zoo.plain(90, "L"), "b.png": RED}), size=8)
    assert found.pixels[:, :, 0, 0].tolist() == [[90, 90, 90], [255, 0, 0]]


def test_channels_decides_instead_of_the_content(tmp_path):
    zoo.folder(tmp_path, {"a.png": zoo.plain(90, "L"), "b.png": RED})
    assert load(tmp_path, size=8, channels=1).pixels[:, 0, 0, 0].tolist() == [90, 76]
    (tmp_path / "b.png").unlink()
    assert load(tmp_path, size=8, channels=3).pixels[0, :, 0, 0].tolist() == [90, 90, 90]
    with pytest.raises(ValueError, match="channels=2"):
        load(tmp_path, channels=2)


def test_pictures_of_all_sizes_are_brought_to_one(tmp_path):
    sizes = {"a": (5, 90), "b": (90, 5), "c": (1, 1), "d": (200, 200)}
    zoo.folder(tmp_path, {f"{name}.png": zoo.plain("red", size=size) for name, size in sizes.items()})
    assert (load(tmp_path, size=8).pixels == torch.tensor([255, 0, 0])[:, None, None]).all()


# Folders and zips: what is taken, and which class it is.

SYSTEM = {
    ".ipynb_checkpoints/1-checkpoint.png": RED,
    "cat/.ipynb_checkpoints/1.png": RED,
    "Thumbs.db": b"x",
    "cat/Thumbs.db": b"x",
    "@eaDir/1.png/SYNO.png": RED,
    "__MACOSX/cat/._1.png": b"x",
    "cat/._1.png": b"x",
    ".DS_Store": b"x",
    "desktop.ini": b"x",
    "lost+found/a.png": RED,
    "$RECYCLE.BIN/1.png": RED,
    "System Volume Information/a.png": RED,
    ".git/a.png": RED,
    ".hidden.png": RED,
    "DESKTOP.INI": b"x",
}
CLASSES = {"cat/1.png": RED, "cat/2.png": RED, "dog/1.png": BLUE}


def both(tmp_path, files):
    """The same files as a folder and as a zip."""
    return [zoo.folder(tmp_path / "own", files), zoo.packed(tmp_path / "own.zip", files)]


def _as_classes(found):
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.pixels[:, 0, 0, 0].tolist() == [255, 255, 0]


def test_hidden_and_system_names_are_skipped(tmp_path):
    for path in both(tmp_path, CLASSES | SYSTEM):
        _as_classes(load(path, size=8))


def test_a_hidden_root_is_the_users_own_choice(tmp_path):
    _as_classes(load(zoo.folder(tmp_path / ".cache" / "own", CLASSES), size=8))


def test_what_is_left_out_is_counted_and_named_in_one_warning(tmp_path):
    others = {"cat/1.HEIC": b"x", "cat/1.dcm": b"x", "dog/1.svg": b"<svg/>", "dog/1.CR2": b"x", "notes.txt": b"x"}
    for path in both(tmp_path, {**CLASSES, **others, "fox/": b""} | {"elk/1.dcm": b"x"}):
        with pytest.warns(UserWarning, match=r"left out") as told:
            _as_classes(load(path, size=8))
        assert len(told) == 1
        words = str(told[0].message)
        assert words.startswith(str(path))
        assert "left out, as Pillow does not open them: 6 (cat/1.HEIC, cat/1.dcm" in words
        assert "folders without a picture: 2 (elk, fox)" in words


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.dcm": b"x", "b.HEIC": b"x"}, r"holds no image that Pillow opens .*it holds a\.dcm, b\.HEIC"),
        ({"cat/": b""}, "holds no image .*it is empty"),
        ({".a.png": RED}, "holds no image .*it is empty"),
        ({"own.npz": b"PK"}, r"it holds own\.npz; load that \.npz itself, unpacked"),
        ({"inner.zip": b"PK"}, "unpack what is packed in it"),
        ({"train_images.npy": b"x"}, r"call it \.npz"),
        ({**CLASSES, "loose.png": RED}, r"beside the class folders cat, dog: loose\.png; move each"),
    ],
)
def test_a_folder_that_means_nothing_is_refused_in_words(tmp_path, files, words):
    for path in both(tmp_path, files):
        with pytest.raises(ValueError, match=f"^{path} .*{words}"):
            load(path)


@pytest.mark.parametrize("top", ["", "own/", "a/b/"])
def test_the_folders_around_the_classes_do_not_matter(tmp_path, top):
    for path in both(tmp_path, {f"{top}{name}": content for name, content in CLASSES.items()}):
        _as_classes(load(path, size=8))


def test_a_class_is_the_first_folder_however_deep_its_pictures_lie(tmp_path):
    files = {"cat/black/1.png": RED, "cat/white/old/1.png": RED, "dog/1.png": BLUE}
    for path in both(tmp_path, files):
        _as_classes(load(path, size=8))


def test_one_class_beside_empty_ones_is_still_a_class(tmp_path):
    for path in both(tmp_path, {"cat/img_1.png": RED, "cat/img_2.png": RED, "dog/": b""}):
        with pytest.warns(UserWarning, match=r"folders without a picture: 1 \(dog\)"):
            assert load(path, size=8).classes == ("cat",)


def test_without_folders_the_class_is_the_first_word_of_the_name(tmp_path):
    for path in both(tmp_path, {"cat_1.png": RED, "cat_2.png": RED, "dog_1.png": BLUE}):
        _as_classes(load(path, size=8))


def test_numbered_folders_are_numbered_by_value(tmp_path):
    for path in both(tmp_path, {f"{number}/a.png": RED for number in (0, 1, 2, 10, 11)}):
        found = load(path, size=8)
        assert found.classes == ("0", "1", "2", "10", "11")
        assert found.labels.tolist() == [0, 1, 3, 4, 2]  # pictures are in the order of their names


def test_train_and_test_folders_are_splits_with_the_classes_of_both(tmp_path):
    files = {"Train/cat/1.png": RED, "Train/elk/1.png": RED, "test/dog/1.png": BLUE, "test/elk/1.png": BLUE}
    for path in both(tmp_path, files):
        train, test = load(path, size=8), load(path, split="test", size=8)
        assert train.classes == test.classes == ("cat", "dog", "elk")
        assert (train.labels.tolist(), test.labels.tolist()) == ([0, 2], [1, 2])
        with pytest.raises(ValueError, match="no folder for split='val'; choose one of test, train"):
            load(path, split="val")


def test_a_split_with_one_class_alone_keeps_it(tmp_path):
    for path in both(tmp_path, {"train/cat/1.png": RED, "test/cat/1.png": BLUE, "test/dog/2.png": BLUE}):
        assert load(path, size=8).classes == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path):
    for path in both(tmp_path, {"train/1.png": RED, "bus/1.png": RED}):
        assert load(path, size=8).classes == ("bus", "train")


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path):
    zoo.folder(tmp_path / "own", {"x.png/1.png": RED, "y.png/1.png": BLUE})
    assert load(tmp_path / "own", size=8).classes == ("x.png", "y.png")
    _as_classes(load(zoo.folder(tmp_path / "folder.npz", CLASSES), size=8))


def test_zips_of_other_systems_are_read_alike(tmp_path):
    windows = {name.replace("/", "\\"): content for name, content in CLASSES.items()}
    _as_classes(load(zoo.packed(tmp_path / "windows.zip", windows), size=8))
    _as_classes(load(zoo.packed(tmp_path / "OWN.ZIP", CLASSES), size=8))
    outside = {"../cat/1.png": RED, "C:\\cat\\2.png": RED, "/dog/1.png": BLUE}
    _as_classes(load(zoo.packed(tmp_path / "outside.zip", outside), size=8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["OWN.ZIP", "outside.zip", "windows.zip"]


@pytest.mark.parametrize("name", ["caf\u00e9", "cafe\u0301", "猫"])
def test_names_of_every_alphabet_are_kept(tmp_path, name):
    wanted = name.replace("e\u0301", "\u00e9")
    for path in both(tmp_path, {f"{name}/1.png": RED, "dog/1.png": BLUE}):
        assert set(load(path, size=8).classes) == {"dog", wanted}


def test_utf8_that_does_not_say_so_is_understood(tmp_path):
    path = zoo.packed(tmp_path / "mac.zip", {"猫/1.png": RED, "dog/1.png": BLUE})
    raw = path.read_bytes()
    for mark, place in ((b"PK\x01\x02", 9), (b"PK\x03\x04", 7)):
        at = raw.find(mark)
        while at >= 0:
            raw = raw[: at + place] + bytes([raw[at + place] & ~8]) + raw[at + place + 1 :]
            at = raw.find(mark, at + 4)
    path.write_bytes(raw)
    assert load(path, size=8).classes == ("dog", "猫")


def _damaged(path):
    """A byte of the first member's content is another."""
    raw = bytearray(path.read_bytes())
    raw[60] ^= 255
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda path: path.write_bytes(b"<html>"), "holds a page"),
        (lambda path: path.write_bytes(zoo.packed(path, CLASSES).read_bytes()[:-40]), "was it cut off"),
        (lambda path: zoo.packed(path, CLASSES, encrypted=True), r"cat/1\.png is encrypted; unpack it yourself"),
        (lambda path: _damaged(zoo.packed(path, CLASSES)), r"cat/1\.png cannot be read .*Bad CRC-32.*was it cut off"),
    ],
)
def test_a_broken_zip_is_named_with_what_to_do(tmp_path, make, words):
    path = tmp_path / "own.zip"
    make(path)
    with pytest.raises(ValueError, match=f"^{path}.*{words}"):
        load(path)


# Arrays: the right meaning, or the key, its shape and dtype, and what is wanted.

RANDOM = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "pixels"),
    [
        (RANDOM, RANDOM),
        (RANDOM.transpose(0, 3, 1, 2), RANDOM),
        (RANDOM[..., :1], RANDOM[..., :1]),
        (RANDOM[..., 0], RANDOM[..., :1]),
        (RANDOM[..., :1].transpose(0, 3, 1, 2), RANDOM[..., :1]),
        (RANDOM.astype(np.int64), RANDOM),
        (RANDOM.astype(np.int16), RANDOM),
        (RANDOM.astype(">u2"), RANDOM),
        (RANDOM.astype(np.uint16) * 257, RANDOM),
        (RANDOM.astype(">u2") << 8, RANDOM),
        (RANDOM / 255, RANDOM),
        (RANDOM / np.float32(255) * np.float32(1 + 2e-7) - np.float32(1e-7), RANDOM),  # rounding errors are no values
        (RANDOM.astype(np.float16), RANDOM),
        (RANDOM.astype(np.float32) + 0.25 * (RANDOM < 255), RANDOM),
        (RANDOM > 99, (RANDOM > 99) * 255),
        (np.asfortranarray(RANDOM), RANDOM),
    ],
)
def test_arrays_with_one_meaning_are_taken_by_it(tmp_path, images, pixels):
    found = load(zoo.npz(tmp_path / "own.NPZ.npz", images))
    assert torch.equal(found.pixels, torch.tensor(pixels.astype(np.uint8)).permute(0, 3, 1, 2))
    assert found.labels.tolist() == [0, 1, 2, 3]
    os.rename(tmp_path / "own.NPZ.npz", tmp_path / "own.NPZ")
    assert torch.equal(load(tmp_path / "own.NPZ").pixels, found.pixels)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((4, 3, 8, 3), np.uint8), r"uint8 of shape \(4, 3, 8, 3\): channels could be the first or the last"),
        (np.zeros((4, 1, 8, 1), np.uint8), "channels could be the first or the last"),
        (np.zeros((4, 28, 28, 28), np.uint8), r"\(4, 28, 28, 28\), which are volumes; give .*one slice"),
        (np.zeros((4, 28, 28, 28, 1), np.uint8), "which are volumes"),
        (np.zeros((4, 8, 8, 4), np.uint8), "4 channels; .*leave out an alpha channel"),
        (np.zeros((4, 2, 8, 8), np.uint8), "2 channels"),
        (np.zeros((4, 784), np.uint8), r"is uint8 of shape \(4, 784\); give images \(N, H, W\)"),
        (np.zeros((4, 784, 1), np.uint8), "pixels in a row rather than in a square"),
        (np.zeros((0, 8, 8), np.uint8), r"\(0, 8, 8\): no image"),
        (np.uint8(3), "no image"),
        (np.full((4, 8, 8), np.nan), "256 values that are not finite"),
        (np.where(np.eye(8), np.inf, 0)[None].repeat(4, 0), "32 values that are not finite"),
        (np.linspace(-1, 1, 256).reshape(4, 8, 8), r"float64 .* values in \[-1, 1\]; give .*scale"),
        (np.linspace(0, 1.05, 256).reshape(4, 8, 8), r"values in \[0, 1\.05\]; give .*scale"),
        (np.linspace(0, 16, 256).reshape(4, 8, 8), r"values in \[0, 16\]"),
        (np.linspace(0, 4095, 256).reshape(4, 8, 8).astype(np.int16), r"int16 .* values in \[0, 4095\]"),
        (np.full((4, 8, 8), -1), r"int64 .* values in \[-1, -1\]"),
        (np.full((4, 8, 8), 1 << 40, np.uint64), "uint64"),
        (np.full((4, 8, 8), 1j), "is complex128 of shape"),
        (np.full((4, 8, 8), "a"), "is <U1 of shape"),
        (np.zeros((4, 8, 8), "datetime64[s]"), "datetime64"),
        (np.zeros((4, 8, 8), [("r", "u1")]), "give uint8"),
        (np.array([np.zeros((2, 2)), np.zeros((3, 3))] * 2, dtype=object), "holds Python objects, which are not read"),
    ],
)
def test_images_that_mean_several_things_or_none_are_refused(tmp_path, images, words):
    path = zoo.npz(tmp_path / "own.npz", images)
    with pytest.raises(ValueError, match=f"^{path}: train_images .*{words}"):
        load(path)


@pytest.mark.parametrize(("pixels", "most"), [(np.eye(8, dtype=np.uint8), 1), (np.eye(8, dtype=int) * 16, 16)])
def test_pixels_that_are_all_but_black_are_told_of(tmp_path, pixels, most):
    with pytest.warns(UserWarning, match=f"train_images holds values up to {most} of 255, all but black"):
        assert load(zoo.npz(tmp_path / "own.npz", pixels[None].repeat(4, 0))).pixels.max() == most


@pytest.mark.parametrize(
    ("labels", "numbers", "classes"),
    [
        ([2, 0, 1, 2], [2, 0, 1, 2], ("0", "1", "2")),
        ([[2], [0], [1], [2]], [2, 0, 1, 2], ("0", "1", "2")),
        (np.eye(3)[[2, 0, 1, 2]], [2, 0, 1, 2], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[[2, 0, 1, 2]], [2, 0, 1, 2], ("0", "1", "2")),
        ([2.0, 0.0, 1.0, 2.0], [2, 0, 1, 2], ("0", "1", "2")),
        ([True, False, True, True], [1, 0, 1, 1], ("0", "1")),
        (["dog", "cat", "dog", "cat"], [1, 0, 1, 0], ("cat", "dog")),
        ([b"dog", b"cat", b"dog", b"cat"], [1, 0, 1, 0], ("cat", "dog")),
        (["10", "9", "2", "10"], [2, 1, 0, 2], ("2", "9", "10")),
        (np.array([2, 0, 1, 2], ">u8"), [2, 0, 1, 2], ("0", "1", "2")),
    ],
)
def test_labels_with_one_meaning_are_taken_by_it(tmp_path, labels, numbers, classes):
    found = load(zoo.npz(tmp_path / "own.npz", labels=np.array(labels)))
    assert (found.labels.tolist(), found.classes) == (numbers, classes)
    assert found.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(9), r"is int64 of shape \(9,\); give one whole number from 0 .* as there are 4 images"),
        (np.arange(4)[None], r"int64 of shape \(1, 4\) for 4 images"),
        (np.zeros((4, 1, 1), int), r"shape \(4, 1, 1\)"),
        (np.int64(3), r"shape \(\)"),
        (np.array([], int), r"shape \(0,\)"),
        (np.ones((4, 14), int), r"several labels an image, or none \(row 0 adds up to 14\).*one column of it"),
        (np.zeros((4, 14)), r"several labels an image, or none \(row 0 adds up to 0\)"),
        (np.full((4, 2), 0.5), r"float64 of shape \(4, 2\) .*one-hot"),
        (np.array([[34, 1]] * 4), "one-hot"),
        ([0.5, 1.7, 0, 1], "holds 0.5, no whole number"),
        ([0, np.nan, 0, 1], "holds nan, no whole number"),
        ([0, np.inf, 0, 1], "holds inf, no whole number"),
        ([-1, 1, 1, -1], "holds -1; give class numbers from 0"),
        ([20240101, 1, 0, 2], r"holds 20240101, which would make as many classes.*np\.unique"),
        (np.array([0, 1 << 63, 0, 1], np.uint64), "as many classes"),
        ([1j, 0, 0, 0], "complex128"),
        (np.array(["a", 1, None, 2], dtype=object), "holds Python objects, which are not read"),
    ],
)
def test_labels_that_mean_several_things_or_none_are_refused(tmp_path, labels, words):
    path = zoo.npz(tmp_path / "own.npz", labels=np.array(labels))
    with pytest.raises(ValueError, match=f"^{path}: train_labels .*{words}"):
        load(path)


def test_classes_are_those_of_all_splits_together(tmp_path):
    more = {"test_images": np.zeros((2, 8, 8), np.uint8)}
    numbers = load(zoo.npz(tmp_path / "a.npz", test_labels=np.array([7, 0]), **more))
    assert len(numbers.classes) == 8
    path = zoo.npz(tmp_path / "b.npz", labels=np.array(list("acca")), test_labels=np.array(["b", "c"]), **more)
    assert load(path).labels.tolist() == [0, 2, 2, 0]
    assert load(path, split="test").labels.tolist() == [1, 2]
    unknown = zoo.npz(tmp_path / "c.npz", test_labels=np.array(None), **more)  # what Kaggle keeps for itself
    assert load(unknown).labels.tolist() == [0, 1, 2, 3]


def test_users_are_checked_as_labels_are(tmp_path):
    assert load(zoo.npz(tmp_path / "a.npz", train_users=np.array([20240101, -1, 3, 3]))).users.tolist()[0] == 20240101
    named = load(zoo.npz(tmp_path / "b.npz", train_users=np.array(["eve", "bob", "eve", "bob"])))
    assert named.users.tolist() == [1, 0, 1, 0]
    for users in (np.arange(5), np.array([0.5, 1, 2, 3]), np.eye(4)):
        with pytest.raises(ValueError, match=r"train_users .*one whole number \(or string\) an image"):
            load(zoo.npz(tmp_path / "c.npz", train_users=users))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "it has nothing. Use the MedMNIST layout"),
        (
            {"x": np.zeros(3), "y": np.zeros(3)},
            "has no train_images and no train_labels; it has x, y. Use the MedMNIST",
        ),
        ({"train_images": np.zeros((4, 8, 8))}, "has no train_labels; it has train_images"),
        ({"test_images": np.zeros((4, 8, 8)), "test_labels": np.arange(4)}, "Choose split=test"),
    ],
)
def test_missing_arrays_are_named_with_those_that_are_there(tmp_path, arrays, words):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'own.npz'} .*{words}"):
        load(tmp_path / "own.npz")


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _broken_member(path):
    zoo.npz(path, RANDOM)
    raw = bytearray(path.read_bytes())
    raw[400] ^= 255
    path.write_bytes(raw)


def _promising(path):
    """An array whose head promises more than any memory has."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 9999999999999), }"
    npy = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header
    zoo.packed(path, {"train_images.npy": npy, "train_labels.npy": npy})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), r" is empty \(0 bytes\)"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html>"), " holds a page"),
        (lambda path: path.write_bytes(b"x,y\n1,2\n"), r" is no \.npz: it begins with b'x,y"),
        (lambda path: path.write_bytes(zoo.npz(path).read_bytes()[:-60]), ".*was it cut off"),
        (_broken_member, ": train_images cannot be read .*Bad CRC-32.*was it cut off"),
        (_promising, ": train_(images|labels) (cannot be read|needs more memory)"),
        (lambda path: zoo.packed(path, CLASSES), " has no train_images"),
        (
            lambda path: zoo.packed(path, {"train_images": RED, "train_labels": RED}),
            ": train_(images|labels) is no array",
        ),
        (lambda path: zoo.packed(path, {"train_images.npy": b"", "train_labels.npy": b""}), ": train_images"),
        (lambda path: path.write_bytes(_npy(np.zeros(3))), r" is one array \(\.npy\); save images and labels"),
    ],
)
def test_a_broken_npz_is_named_with_what_to_do(tmp_path, make, words):
    path = tmp_path / "own.npz"
    make(path)
    with pytest.raises(ValueError, match=f"^{path}{words}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "content"), [("a.npy", b"\x93NUMPY"), ("a.csv", b"1"), ("a.png", RED), ("a.tgz", b"")]
)
def test_what_is_no_data_set_is_told_what_would_be_one(tmp_path, name, content):
    zoo.folder(tmp_path, {name: content})
    with pytest.raises(ValueError, match=rf"{name} is not a data set: give a \.npz .*or a folder or zip of pictures"):
        load(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "own.npz")
    with pytest.raises(ValueError, match="is not a data set"):
        load(tmp_path / "own.npz")


def test_a_file_of_others_is_named(tmp_path, monkeypatch):
    zoo.npz(tmp_path / "own.npz")
    zoo.packed(tmp_path / "own.zip", CLASSES)

    def refuse(self, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    for name in ("own.npz", "own.zip"):
        with pytest.raises(PermissionError, match=rf"{name}.*(may not be read by you|Permission denied)"):
            load(tmp_path / name)


# Arguments: honoured, or refused in words.


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("digits", {"size": 64}, "size=64 is not to be had of digits; choose one of 28"),
        ("cifar10", {"size": 64}, r"size=64 .* choose one of 32, or use data\.resized"),
        ("pathmnist", {"size": 65}, "choose one of 28, 64, 128, 224"),
        ("pathmnist-64", {"size": 224}, "size=224 is not to be had of pathmnist-64; choose one of 64"),
        ("digits", {"channels": 3}, r"channels=3 has no meaning for digits.*data\.resized"),
        ("digits", {"words": 9}, "words=9 has no meaning for digits: it is for text"),
        ("mnist", {"length": 9}, "length=9 has no meaning"),
        ("manual", {"size": 28}, "size=28 has no meaning for manual: it is for images"),
        ("imdb", {"channels": 1}, "channels=1 has no meaning for imdb"),
        ("patches", {"size": 0}, "size=0 is out of range"),
        ("photos", {"size": 10**6}, "size=1000000 is out of range; give a whole number from 1 to 4096"),
        ("digits", {"split": "nonsense"}, "split='nonsense' is not known; choose one of train, val, test"),
        ("mnist", {"split": "val"}, "mnist has no split 'val'"),
        ("imdb", {"split": "val"}, "imdb has no split 'val'"),
        ("omniglot", {"split": "test"}, "one set, taken as split='train'"),
    ],
)
def test_no_argument_is_swallowed(name, options, words):
    with pytest.raises(ValueError, match=words):
        data.load(name, **options)


def test_no_argument_is_swallowed_for_files(tmp_path):
    zoo.npz(tmp_path / "own.npz")
    zoo.folder(tmp_path / "own", CLASSES)
    assert load(tmp_path / "own.npz", size=8).shape == (1, 8, 8)
    with pytest.raises(ValueError, match="holds images of 8x8, not size=28"):
        load(tmp_path / "own.npz", size=28)
    with pytest.raises(ValueError, match="channels=1 has no meaning"):
        load(tmp_path / "own.npz", channels=1)
    for name in ("own.npz", "own"):
        with pytest.raises(ValueError, match=r"words=9 has no meaning for .*own"):
            load(tmp_path / name, words=9)
    with pytest.raises(TypeError, match=r"size=8\.0 is a float"):
        load(tmp_path / "own", size=8.0)
    with pytest.raises(TypeError, match="name=None is a NoneType; give a data set's name or a path"):
        data.load(None)


def test_a_warning_stands_at_the_users_own_line(tmp_path):
    zoo.folder(tmp_path, {**CLASSES, "notes.txt": b"x"})
    with pytest.warns(UserWarning, match="left out") as told:
        data.load(str(tmp_path), size=8)
    assert told[0].filename == __file__


def test_no_argument_is_swallowed_for_photographs_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    zoo.packed(tmp_path / "photos.zip", {"cat_1.png": RED, "dog_1.png": BLUE})
    assert data.load("photos", size=8, channels=1).shape == (1, 8, 8)
    zoo.npz(tmp_path / "photos.npz")
    assert data.load("photos").shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"photos\.npz holds images of 8x8, not size=16"):
        data.load("photos", size=16)
    with pytest.raises(ValueError, match=r"channels=3 has no meaning for .*photos\.npz"):
        data.load("photos", channels=3)


def test_the_size_of_a_medmnist_set_chooses_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    path = zoo.npz(tmp_path / "pathmnist_64.npz", np.zeros((4, 64, 64, 3), np.uint8))
    from privlab.data.sums import digest

    (tmp_path / "SHA256SUMS").write_text(f"{digest(path)}  {path.name}\n")
    for found in (data.load("pathmnist", size=64), data.load("pathmnist-64", size=64), data.load("pathmnist-64")):
        assert (found.name, found.shape) == ("pathmnist-64", (3, 64, 64))
    assert data.load("digits", size=28).shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("name", "guess"),
    [("MNIST ", "mnist"), ("Cifar-10", "cifar10"), ("fashion_mnist", "fashion-mnist"), ("digit", "digits")],
)
def test_a_typing_mistake_is_told_the_closest_name(name, guess):
    with pytest.raises(ValueError, match=f"'{name}' is neither a file nor a known data set; did you mean .*'{guess}'"):
        data.load(name)


@pytest.mark.parametrize("name", ["", " ", "no such set", "~nobody-of-that-name/x", "a\0b", "x" * 5000])
def test_a_name_that_is_none_is_an_error_in_words(name):
    with pytest.raises(ValueError, match="is neither a file nor a known data set; `privlab data list`"):
        data.load(name)


def test_sets_of_ones_own_are_found_by_name_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    zoo.npz(tmp_path / "arrays.NPZ.npz").rename(tmp_path / "arrays.NPZ")
    zoo.packed(tmp_path / "packed.zip", CLASSES)
    zoo.folder(tmp_path / "open", CLASSES)
    assert len(data.load("arrays")) == 4
    for name in ("packed", "open"):
        _as_classes(data.load(name, size=8))
    with pytest.raises(ValueError, match="did you mean 'packed'"):
        data.load("Packed")


@pytest.mark.parametrize("count", [3, 5])
def test_a_publishers_archive_with_another_number_of_labels_is_refused(tmp_path, monkeypatch, count):
    from . import publishers

    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    publishers.write_idx(tmp_path / "mnist", 4)
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(publishers.idx(np.zeros(count)))
    _trusted(tmp_path)
    with pytest.raises(ValueError, match=f"train-images-idx3-ubyte.gz holds 4 images and {count} labels"):
        data.load("mnist")
    labels.write_bytes(publishers.idx(np.full(4, 77)))
    _trusted(tmp_path)
    with pytest.raises(ValueError, match="holds labels from 77 to 77; mnist has 10 classes"):
        data.load("mnist")
    labels.write_bytes(b"\x1f\x8b\x08half")
    _trusted(tmp_path)
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte\.gz cannot be read .*was it cut off"):
        data.load("mnist")


def _trusted(folder):
    from privlab.data.sums import digest

    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text("".join(f"{digest(p)}  {p.relative_to(folder).as_posix()}\n" for p in files))


@pytest.mark.parametrize(
    ("name", "member", "content"),
    [
        ("emnist-digits", "gzip/other.gz", b"x"),
        ("omniglot", "images_background_small1/A/b/0001_01.png", b"x"),
    ],
)
def test_a_publishers_archive_that_holds_something_else_is_named(tmp_path, monkeypatch, name, member, content):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    for file in data.CATALOGUE[name].files:
        (tmp_path / file.path).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / file.path, "w") as archive:
            archive.writestr(member, content)
    _trusted(tmp_path)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/.*\.zip "):
        data.load(name)


def test_an_image_for_resizing_has_one_or_three_channels():
    with pytest.raises(ValueError, match="the channels of images=4"):
        data.resized(torch.zeros(1, 4, 8, 8), 8, 3)
