"""The files that people bring: pictures of every kind, folders, zips and arrays, made here."""

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

RAMP8 = np.arange(256, dtype=np.uint8).reshape(16, 16)
RAMP16 = RAMP8.astype(np.uint16) * 257  # 0 to 65535


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(colour="red", mode="RGB", size=(16, 16), kind="PNG", **options):
    return encoded(Image.new(mode, size, colour), kind, **options)


def transparent(mode):
    """The left half red (or grey 76), the right half transparent over a hidden black."""
    alpha = Image.new("L", (16, 16), 0)
    alpha.paste(255, (0, 0, 8, 16))
    image = Image.new("RGB", (16, 16), "black")
    image.paste("red", (0, 0, 8, 16))
    image = image.convert("L" if mode == "LA" else "RGB")
    image.putalpha(alpha)
    if mode == "P":
        buffer = Image.new("P", (16, 16), 1)
        buffer.putpalette([255, 0, 0, 0, 0, 0])
        buffer.paste(0, (0, 0, 8, 16))
        return encoded(buffer, "PNG", transparency=1)
    return encoded(image)


def colour16():
    """A PNG of 16 bits a channel, which Pillow cannot write: red is a ramp, green 0x8001, blue 0."""
    import struct
    import zlib

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = np.stack([RAMP16, np.full_like(RAMP16, 0x8001), np.zeros_like(RAMP16)], -1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb():
    """A PNG whose head promises 400 megapixels."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + b"\0\0\0\0IDAT"
        + bytes(20)
    )


def frames(kind):
    first, second = Image.new("L", (16, 16), 10), Image.new("L", (16, 16), 200)
    return encoded(first, kind, save_all=True, append_images=[second])


def turned():
    """The upper half dark, stored upside down as a camera does."""
    image = Image.new("L", (16, 16), 255)
    image.paste(0, (0, 8, 16, 16))
    exif = image.getexif()
    exif[0x0112] = 3
    return encoded(image, "PNG", exif=exif)


# Pictures of grey ramps (0 to 255 after loading), by name: bytes.
RAMPS = {
    "eight.png": lambda: encoded(Image.fromarray(RAMP8)),
    "EIGHT.PNG": lambda: encoded(Image.fromarray(RAMP8)),
    "sixteen.png": lambda: encoded(Image.fromarray(RAMP16)),
    "sixteen.tif": lambda: encoded(Image.fromarray(RAMP16), "TIFF"),
    "big-endian.tiff": lambda: encoded(Image.fromarray(RAMP16.astype(">u2")), "TIFF"),
    "thirty-two.tif": lambda: encoded(Image.fromarray(RAMP16.astype(np.int32)), "TIFF"),
    "sixteen.pgm": lambda: encoded(Image.fromarray(RAMP16), "PPM"),
    "sixteen.jp2": lambda: encoded(Image.fromarray(RAMP16), "JPEG2000", irreversible=False),
    "unit-float.tif": lambda: encoded(Image.fromarray(RAMP8.astype(np.float32) / 255), "TIFF"),
    "byte-float.tif": lambda: encoded(Image.fromarray(RAMP8.astype(np.float32)), "TIFF"),
    "grey-alpha.png": lambda: encoded(Image.merge("LA", [Image.fromarray(RAMP8), Image.new("L", (16, 16), 255)])),
    "grey-in-colour.png": lambda: encoded(Image.fromarray(RAMP8).convert("RGB")),
    "grey-palette.png": lambda: encoded(Image.fromarray(RAMP8).convert("P")),
    "rgba.png": lambda: encoded(Image.fromarray(RAMP8).convert("RGBA")),
    "grey.bmp": lambda: encoded(Image.fromarray(RAMP8), "BMP"),
    "grey.gif": lambda: encoded(Image.fromarray(RAMP8), "GIF"),
    "grey.webp": lambda: encoded(Image.fromarray(RAMP8).convert("RGB"), "WEBP", lossless=True),
    "grey.tga": lambda: encoded(Image.fromarray(RAMP8), "TGA"),
    "png-named.jpg": lambda: encoded(Image.fromarray(RAMP8)),
}

# What cannot be read, by name: bytes and the words of the error.
BROKEN = {
    "empty.png": (lambda: b"", r"empty\.png is empty \(0 bytes\)"),
    "page.jpg": (lambda: b"<!DOCTYPE html><p>404", r"page\.jpg holds a page .* fetch it again"),
    "pointer.png": (lambda: b"version https://git-lfs.github.com/spec/v1\n", r"pointer\.png is a pointer of Git LFS"),
    "noise.bmp": (lambda: bytes(range(200)), r"noise\.bmp is no picture that Pillow can open; convert it to PNG"),
    "heic.jpg": (lambda: b"\0\0\0\x18ftypheic" + bytes(99), r"heic\.jpg is no picture that Pillow can open"),
    "cut.png": (lambda: encoded(Image.effect_noise((64, 64), 50))[:900], r"cut\.png cannot be read .*was it cut off"),
    "cut.jpg": (lambda: plain(size=(300, 300), kind="JPEG")[:700], r"cut\.jpg cannot be read .*was it cut off"),
    "head.png": (lambda: plain()[:20], r"head\.png .*(cannot be read|is no picture)"),
    "huge.png": (bomb, r"huge\.png is larger than is safe to open .*make it smaller"),
    "negative.tif": (
        lambda: encoded(Image.fromarray(RAMP8.astype(np.int32) - 5), "TIFF"),
        r"negative\.tif is a picture of values in \[-5, 250\]; give 8 bits, or 16",
    ),
    "float.tif": (
        lambda: encoded(Image.fromarray(RAMP16.astype(np.float32)), "TIFF"),
        r"float\.tif is float32 .* values in \[0, 65535\]; give .*floats in \[0, 1\]",
    ),
    "nan.tif": (
        lambda: encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"),
        r"nan\.tif .* 16 values that are not finite",
    ),
    "lab.tif": (lambda: plain((9, 0, 0), "LAB", kind="TIFF"), r"lab\.tif is a picture in LAB colours; give RGB"),
}


def folder(place, files):
    """A folder of files, by name: bytes; a name that ends in `/` is an empty folder."""
    for name, content in files.items():
        path = Path(place, name)
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(content)
    return Path(place)


def packed(path, files, encrypted=False):
    """A zip of files, names as given, which may be those of another system."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo("x")
            member.filename, member.external_attr = name, (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, content)
    if encrypted:
        raw = Path(path).read_bytes()
        for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # the flag alone: nobody gets to the content
            at = raw.find(mark)
            while at >= 0:
                raw = raw[: at + place] + bytes([raw[at + place] | 1]) + raw[at + place + 1 :]
                at = raw.find(mark, at + 4)
        Path(path).write_bytes(raw)
    return Path(path)


def npz(path, images=None, labels=None, split="train", **more):
    """A file in the MedMNIST layout, of four grey images of 8 pixels where nothing else is said."""
    images = np.zeros((4, 8, 8), np.uint8) if images is None else images
    labels = np.arange(4) if labels is None else labels
    np.savez(path, **{f"{split}_images": images, f"{split}_labels": labels}, **more)
    return Path(path)
