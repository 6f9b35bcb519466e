"""The data sets that `load` knows by name: files, addresses, checksums, licences."""

from dataclasses import dataclass

from medmnist import INFO

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class File:
    """One published file: where it lies in a data folder, its address, its checksum (`md5:...`).

    Of a file that nobody publishes address and checksum are empty, and its `Entry` says in `made` how it comes about.
    """

    path: str
    url: str
    checksum: str
    megabytes: float


@dataclass(frozen=True)
class Entry:
    """One data set. `kind` says which reader opens it; `stands_for` names the real set an embedded one replaces.

    examples: how many its training split holds as published; 0 where that is not known.
    sizes: the sides in pixels that it comes in; none for text, and for pictures of any size.
    several: whether an image has several labels.
    made: how one comes by files that have no address, as the end of a sentence.
    """

    name: str
    title: str
    kind: str
    classes: tuple[str, ...]
    licence: str
    stand_in: str
    files: tuple[File, ...] = ()
    stands_for: str = ""
    examples: int = 0
    sizes: tuple[int, ...] = ()
    several: bool = False
    made: str = ""

    @property
    def embedded(self) -> bool:
        return self.kind == "embedded"

    @property
    def megabytes(self) -> float:
        return sum(file.megabytes for file in self.files)


def _idx(folder: str, base: str, hashes: tuple[str, str, str, str], sizes: tuple[float, ...]) -> tuple[File, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        File(f"{folder}/{name}-ubyte.gz", f"{base}/{name}-ubyte.gz", f"md5:{digest}", size)
        for name, digest, size in zip(names, hashes, sizes, strict=True)
    )


_MNIST = _idx(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    (9.9, 0.03, 1.6, 0.005),
)
_QMNIST = tuple(
    File(
        f"qmnist/qmnist-{split}-labels-idx2-int.gz",
        f"https://raw.githubusercontent.com/facebookresearch/qmnist/master/qmnist-{split}-labels-idx2-int.gz",
        f"md5:{digest}",
        0.5,
    )
    for split, digest in (
        ("train", "0058f8dd561b90ffdd0f734c6a30e5e4"),
        ("test", "5b5b05890a5e13444e108efe57b788aa"),
    )
)
_FASHION = _idx(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    (26.4, 0.03, 4.4, 0.005),
)
_EMNIST = File(
    "emnist/gzip.zip",
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    "md5:58c8d27c78d21e728a6bc7b3cc06412e",
    562,
)
_KRIZ = "https://www.cs.toronto.edu/~kriz"
_CIFAR10 = File(
    "cifar-10-binary.tar.gz", f"{_KRIZ}/cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530", 170
)
_CIFAR100 = File(
    "cifar-100-binary.tar.gz", f"{_KRIZ}/cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8", 169
)
_IMDB = File(
    "aclImdb_v1.tar.gz",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "md5:7c2ac02c03563afcf9b574c7e56c153a",
    84,
)
_OMNIGLOT = tuple(
    File(
        f"omniglot/images_background_small{number}.zip",
        f"https://github.com/brendenlake/omniglot/raw/master/python/images_background_small{number}.zip",
        f"md5:{digest}",
        size,
    )
    for number, digest, size in (
        (1, "e704a628b5459e08445c13499850abc4", 1.3),
        (2, "b75a71a51d3b13f821f212756fe481fd", 1.6),
    )
)
_LOCATION = File(
    "location30/dataset_location.tgz",
    "https://github.com/privacytrustlab/datasets/raw/master/dataset_location.tgz",
    "md5:66851c781a61f51b35ead292b5f303e3",
    0.3,
)
_ADULT = tuple(
    File(
        f"adult/adult.{ending}",
        f"https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.{ending}",
        f"md5:{digest}",
        size,
    )
    for ending, digest, size in (
        ("data", "5d7c39d7b8804f071cdd1f2a7c460872", 4.0),
        ("test", "35238206dfdf7f1fe215bbb874adecdc", 2.0),
    )
)
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
_HEART = tuple(
    File(f"heart-disease/{name}.data", f"{_UCI}/heart-disease/{name}.data", f"md5:{digest}", 0.02)
    for name, digest in (
        ("processed.cleveland", "2d91a8ff69cfd9616aa47b59d6f843db"),
        ("processed.hungarian", "22e96bee155b5973568101c93b3705f6"),
        ("processed.switzerland", "9a87f7577310b3917730d06ba9349e20"),
        ("processed.va", "4249d03ca7711e84f4444768c9426170"),
    )
)
_CLOTHES = ("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# EMNIST's six ways of grouping characters into classes (Cohen et al. 2017, Table II).
_EMNIST_CLASSES = {"balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "letters": 26, "mnist": 10}

_ENTRIES = [
    Entry(
        "digits",
        "scikit-learn's handwritten digits, 8x8 enlarged to 28x28",
        "embedded",
        DIGITS,
        "BSD-3 (data: UCI, CC BY 4.0)",
        "",
        stands_for="mnist",
        sizes=(28,),
    ),
    Entry(
        "patches",
        "colour patches of the photographs in scikit-learn and scikit-image",
        "embedded",
        ("china", "flower", "astronaut", "coffee", "chelsea", "rocket", "motorcycle"),
        "CC BY 2.0 / CC0 / public domain (see their READMEs)",
        "",
        stands_for="cifar10",
        sizes=(32, 64, 224),
    ),
    Entry(
        "manual",
        "the manual that ships inside Python (pydoc_data.topics)",
        "embedded",
        (),
        "PSF",
        "",
        stands_for="imdb",
    ),
    Entry(
        "tumours",
        "scikit-learn's breast cancer records: 30 measures of cell nuclei",
        "embedded",
        ("malignant", "benign"),
        "BSD-3 (data: UCI, CC BY 4.0)",
        "",
        stands_for="location30",
    ),
    Entry(
        "location30",
        "Location-30: 446 kinds of places where 5010 people were, of 30 kinds of people",
        "table",
        tuple(f"kind {i}" for i in range(30)),
        "not stated; cite Shokri et al. 2017",
        "tumours",
        (_LOCATION,),
        examples=5010,
    ),
    Entry(
        "adult",
        "Adult: income above 50K, by 14 attributes of the census of 1994",
        "table",
        ("<=50K", ">50K"),
        "CC BY 4.0",
        "tumours",
        _ADULT,
        examples=32_561,
    ),
    Entry(
        "heart-disease",
        "heart disease: a narrowed vessel, by 13 attributes, of patients of four hospitals",
        "table",
        ("none", "narrowed"),
        "CC BY 4.0 (Janosi, Steinbrunn, Pfisterer, Detrano)",
        "tumours",
        _HEART,
        examples=920,
    ),
    Entry("mnist", "MNIST digits", "idx", DIGITS, "CC BY-SA 3.0", "digits", _MNIST, examples=60_000, sizes=(28,)),
    Entry(
        "mnist-writers",
        "MNIST digits with who wrote each: 539 writers, and 297 others in test",
        "idx",
        DIGITS,
        "CC BY-SA 3.0 (writers: QMNIST, BSD-style)",
        "digits",
        (*_MNIST[:2], _QMNIST[0], *_MNIST[2:], _QMNIST[1]),
        examples=60_000,
        sizes=(28,),
    ),
    Entry(
        "fashion-mnist",
        "Fashion-MNIST clothes",
        "idx",
        _CLOTHES,
        "MIT",
        "digits",
        _FASHION,
        examples=60_000,
        sizes=(28,),
    ),
    Entry(
        "cifar10",
        "CIFAR-10 objects",
        "cifar",
        _OBJECTS,
        "not stated; cite Krizhevsky 2009",
        "patches",
        (_CIFAR10,),
        examples=50_000,
        sizes=(32,),
    ),
    Entry(
        "cifar100",
        "CIFAR-100 objects, fine labels",
        "cifar",
        tuple(f"class {i}" for i in range(100)),
        "not stated; cite Krizhevsky 2009",
        "patches",
        (_CIFAR100,),
        examples=50_000,
        sizes=(32,),
    ),
    Entry(
        "omniglot",
        "Omniglot: handwritten characters of ten alphabets, black on white, 105x105, with their drawers",
        "omniglot",
        (),
        "MIT",
        "digits",
        _OMNIGLOT,
        examples=4840,
        sizes=(105,),
    ),
    Entry(
        "mitbih",
        "MIT-BIH arrhythmia: heartbeats of 43 patients, 256 samples of the lead MLII at 360 Hz around each",
        "beats",
        ("N", "L", "R", "A", "V"),
        "ODC-By 1.0",
        "",
        (File("mitbih/mitbih_beats.npz", "", "", 0),),
        made="it has no address, as PhysioNet publishes whole records and beats have to be cut from them: put the "
        ".hea, .dat and .atr of the 48 (https://physionet.org/content/mitdb) into a folder mitbih in that of "
        "PRIVLAB_DATA, or there, as mitbih/mitbih_beats.npz, beats that you have cut: train_images (N, 256) from 0 to "
        "2047, train_labels, train_users and train_sample (the time) (N,), the same of test, and label_names",
    ),
    Entry(
        "imdb",
        "IMDB film reviews",
        "imdb",
        ("negative", "positive"),
        "not stated; cite Maas et al. 2011",
        "manual",
        (_IMDB,),
        examples=25_000,
    ),
    Entry(
        "photos",
        "photographs of your own (a folder or zip called photos), cropped square",
        "images",
        (),
        "that of your photographs",
        "patches",
    ),
]
_ENTRIES += [
    Entry(
        f"emnist-{group}",
        f"EMNIST characters, grouped {group}",
        "emnist",
        DIGITS if count == 10 else tuple(f"class {i}" for i in range(count)),
        "public domain (NIST)",
        "digits",
        (_EMNIST,),
        sizes=(28,),
    )
    for group, count in _EMNIST_CLASSES.items()
]


_MEDMNIST_SIZES = (28, 64, 128, 224)


def _medmnist() -> list[Entry]:
    entries = []
    for flag, info in INFO.items():
        if flag.endswith("3d"):
            continue
        stand_in = "digits" if info["n_channels"] == 1 else "patches"
        pixels = sum(info["n_samples"].values()) * info["n_channels"]
        for size in _MEDMNIST_SIZES:
            ending = "" if size == 28 else f"_{size}"
            name = flag if size == 28 else f"{flag}-{size}"
            file = File(
                f"{flag}{ending}.npz",
                info[f"url{ending}"],
                f"md5:{info[f'MD5{ending}']}",
                round(pixels * size**2 / 1.4e6, 1),  # their archives compress pixels by about 1.4
            )
            entries.append(
                Entry(
                    name,
                    f"{flag}, {size}x{size}",
                    "npz",
                    tuple(info["label"].values()),
                    info["license"],
                    stand_in,
                    (file,),
                    examples=info["n_samples"]["train"],
                    sizes=_MEDMNIST_SIZES if size == 28 else (size,),
                    several=info["task"].startswith("multi-label"),
                )
            )
    return entries


CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in [*_ENTRIES, *_medmnist()]}
