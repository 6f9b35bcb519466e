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


def idx32(array):
    """Whole numbers of 32 bits, the largest byte first."""
    header = b"\0\0\x0c" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(header + struct.pack(f">{array.size}i", *array.ravel().tolist()))


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


def write_qmnist(folder, made, behind=3):
    """QMNIST's label files for `made` (see `write_idx`): rows by split; in test some more stand behind MNIST's."""
    folder.mkdir(parents=True)
    rows = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        digits = made[prefix][1]
        row = [[digit, 4, 2_000_000 - 7 * i, i, 48 + digit, 70_000 + i, 0, 0] for i, digit in enumerate(digits)]
        rows[split] = np.array(row + [[9, 4, 5, 0, 57, 1, 0, 0]] * (behind if split == "test" else 0))
        (folder / f"qmnist-{split}-labels-idx2-int.gz").write_bytes(idx32(rows[split]))
    return rows


def record(folder, name, leads, notes, rate="360", form="212"):
    """A record as PhysioNet publishes it: `.hea`, `.dat` in format 212, `.atr`; notes are (time, code, remark)."""
    folder.mkdir(exist_ok=True)
    length = len(next(iter(leads.values())))
    lines = [f"{name} {len(leads)} {rate} {length} 0:0:0 0/0/0"]
    lines += [f"{name}.dat {form} 200 11 1024 995 -22131 0 {lead}" for lead in leads]
    (folder / f"{name}.hea").write_text("\n".join([*lines, "# 69 M 1085 1629 x1", "# Aldomet, Inderal", ""]))
    turns = [int(value) & 0xFFF for moment in zip(*leads.values(), strict=True) for value in moment]
    turns += [0] * (len(turns) % 2)
    packed = bytearray()
    for one, two in zip(turns[::2], turns[1::2], strict=True):
        packed += bytes([one & 255, one >> 8 | two >> 8 << 4, two & 255])
    (folder / f"{name}.dat").write_bytes(packed)
    words, before = bytearray(), 0
    for time, code, remark in notes:
        step = time - before
        if step > 1023:
            words += struct.pack("<HHH", 59 << 10, step >> 16, step & 0xFFFF)
            step = 0
        words += struct.pack("<H", code << 10 | step)
        if remark:
            words += struct.pack("<HH", 62 << 10 | 1, 63 << 10 | len(remark)) + remark + bytes(len(remark) % 2)
        before = time
    (folder / f"{name}.atr").write_bytes(words + b"\0\0")


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
