"""Small files made in the publishers' formats, for the readers' tests."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image


def idx(array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_idx(folder, count=5):
    folder.mkdir(parents=True)
    made = {}
    for prefix, seed in (("train", 0), ("t10k", 1)):
        images, labels = pixels(count, 28, 28, seed=seed), np.arange(count) % 10
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
        made[prefix] = images, labels
    return made


def tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def cifar(path, coarse, count=4):
    """`coarse`: CIFAR-100's layout, with the coarse label before the fine one."""
    images, labels = pixels(count, 3, 32, 32), np.arange(count, dtype=np.uint8)
    extra = [bytes([9])] if coarse else [b""]
    rows = b"".join(extra[0] + bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))
    names = ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin")
    tar(
        path,
        dict.fromkeys(names if coarse else ("c/data_batch_1.bin", "c/data_batch_2.bin", "c/test_batch.bin"), rows),
    )
    return images, labels


def emnist(path, group="letters", count=6):
    images, labels = pixels(count, 28, 28), np.arange(1, count + 1)
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "test"):
            archive.writestr(f"gzip/emnist-{group}-{split}-images-idx3-ubyte.gz", idx(images))
            archive.writestr(f"gzip/emnist-{group}-{split}-labels-idx1-ubyte.gz", idx(labels))
    return images, labels


def imdb(path):
    texts = {
        "aclImdb/train/neg/0_2.txt": b"A dull film.<br />Dull, dull!",
        "aclImdb/train/pos/1_9.txt": b"A bright film; it's lovely.",
        "aclImdb/test/pos/0_10.txt": b"Lovely, unseen words",
        "aclImdb/train/unsup/0_0.txt": b"no label",
        "aclImdb/README": b"no review",
    }
    tar(path, texts)


def png(size, colour):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def omniglot(folder):
    """Both small archives, with the Greek character in both: pictures by name, each of its own shade."""
    greek, korean, latin = "Greek/character01/0394", "Korean/character02/0541", "Latin/character01/0683"
    holds = {"1": [(greek, 1), (greek, 2), (korean, 1), (korean, 2)], "2": [(greek, 1), (latin, 1), (latin, 20)]}
    names = sorted({f"{place}_{drawer:02}.png" for pairs in holds.values() for place, drawer in pairs})
    made = {name: png((105, 105), (9 * number,) * 3) for number, name in enumerate(names)}
    for number, pairs in holds.items():
        with zipfile.ZipFile(folder / f"images_background_small{number}.zip", "w") as archive:
            for name in (f"{place}_{drawer:02}.png" for place, drawer in pairs):
                archive.writestr(f"images_background_small{number}/{name}", made[name])
    return made
