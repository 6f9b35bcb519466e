"""A folder of pictures with a table of whose they are, as people keep copies of PIPA and OpenImages; made here."""

import datetime
import warnings

import numpy as np
import pytest
import torch

from privlab import data

from . import zoo

COLOURS = {"a/1.png": "red", "a/2.png": "blue", "b/10.jpg": "red", "c.png": "white"}
ROWS = [
    "a/1.png,eve,rome,2015-03-01 12:30:07,dog;tree",
    "c.png,bob,rome,2015:03:02 00:00:00,",
    "b/10.jpg,eve,9,2015-03-01T12:30,dog",
    "a/2.png,10,10,1969-12-31,cat; dog ",
]
HEAD = "file,user,album,date,labels"


@pytest.fixture(autouse=True)
def _no_other_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def copy(tmp_path):
    """The folder, and a function that writes a table."""
    kinds = {"png": "PNG", "jpg": "JPEG"}
    made = {name: zoo.plain(colour, kind=kinds[name[-3:]]) for name, colour in COLOURS.items()}
    folder = zoo.folder(tmp_path / "own", made)

    def write(*rows, head=HEAD, start=""):
        (tmp_path / "own.csv").write_text(start + "\n".join([head, *rows]) + "\n", encoding="utf-8")
        return folder, tmp_path / "own.csv"

    return write


def test_each_picture_has_its_user_album_date_and_labels(copy):
    found = data.albums(*copy(*ROWS), size=8)
    assert (found.name, found.split, found.shape, found.source) == ("own", "train", (3, 8, 8), "local copy")
    assert found.pixels[:, :, 4, 4].tolist()[:2] == [[255, 0, 0], [255, 255, 255]]
    assert found.pixels[3, :, 4, 4].tolist() == [0, 0, 255]
    assert found.classes == ("cat", "dog", "tree")
    assert found.labels.tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]]
    assert found.users.tolist() == [2, 1, 2, 0]  # 10, bob, eve
    assert found.sessions.tolist() == [2, 2, 1, 0]  # 10, 9, rome: by value only where all are numbers
    moments = [(2015, 3, 1, 12, 30, 7), (2015, 3, 2), (2015, 3, 1, 12, 30), (1969, 12, 31)]
    assert found.times.tolist() == [datetime.datetime(*m, tzinfo=datetime.UTC).timestamp() for m in moments]
    assert {found.labels.dtype, found.users.dtype, found.sessions.dtype, found.times.dtype} == {torch.int64}
    drawn = found.sample(2, seed=0)
    assert torch.equal(drawn.times, found.times[[found.times.tolist().index(time) for time in drawn.times.tolist()]])


def test_pixels_are_those_that_load_reads(copy):
    folder, table = copy("a/2.png,10,x", "a/1.png,9,y", "b/10.jpg,9,y", "c.png,9,y", head="file,user,labels")
    found = data.albums(folder, table, "test", size=9, channels=1)
    (folder / "c.png").rename(folder / "a" / "3.png")
    plain = data.load(str(folder), size=9, channels=1)
    assert torch.equal(found.pixels, plain.pixels[[1, 0, 3, 2]])
    assert (found.split, found.sessions, found.times) == ("test", None, None)
    assert found.users.tolist() == [1, 0, 0, 0]


def test_a_zip_and_names_of_other_systems_are_read_alike(copy, tmp_path):
    folder, table = copy(*ROWS)
    packed = zoo.packed(tmp_path / "own.zip", {name: (folder / name).read_bytes() for name in COLOURS})
    wanted = data.albums(folder, table, size=8)
    turned = [ROWS[0].replace("a/", "a\\"), "", f" ./{ROWS[1]}", *ROWS[2:]]
    _, table = copy(*turned, head="File, User,ALBUM,date,labels", start="\ufeff")
    found = data.albums(str(packed), str(table), size=8)
    assert torch.equal(found.pixels, wanted.pixels)
    assert found.checksum == wanted.checksum
    _, table = copy(*[row.replace("eve", "bob") for row in ROWS])
    assert data.albums(folder, table, size=8).checksum != wanted.checksum


def test_pictures_without_a_row_are_left_out_with_a_word(copy):
    with pytest.warns(
        UserWarning, match=r"own: pictures without a row in own\.csv, left out: 2 \(a/2\.png, b/10"
    ) as told:
        assert len(data.albums(*copy(*ROWS[:2]), size=8)) == 2
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("rows", "head", "words"),
    [
        ([], HEAD, r"own\.csv has no row below its first line; give one for each picture"),
        ([], "", r"own\.csv is empty|own\.csv has no column file and no user and no labels; its first line is empty"),
        (ROWS, "picture,user,album,date,labels", "has no column file; its first line is picture, user, album, date"),
        (
            ["a/1.png;eve;x"],
            "file;user;labels",
            "no column file and no user and no labels; .* give it file, user, labels",
        ),
        ([*ROWS, "a/3.png,eve,x,2015-03-01"], HEAD, "has 4 columns in its line 6, and 5 in its first one; put what"),
        ([ROWS[0], ",eve,x,2015-03-01,dog"], HEAD, "has no file in its line 3; add it, or take the line or column out"),
        (["a/1.png,,x,2015-03-01,dog"], HEAD, "has no user in its line 2"),
        (["a/1.png,eve,x,,dog"], HEAD, "has no date in its line 2"),
        (["a/1.png,eve,,2015-03-01,dog"], HEAD, "has no album in its line 2"),
        (["a/1.png,eve,x,2015-03-01, ; "], HEAD, "gives no picture a label; write some"),
        ([*ROWS, ROWS[0], "./a/2.png,bob,x,2015-03-01,"], HEAD, r"more than once: a/1\.png, a/2\.png; keep one row"),
        (["../own/c.png,eve,x,2015-03-01,dog"], HEAD, r"names '\.\./own/c\.png', which may lie outside the folder"),
        (["a/../../c.png,eve,x,2015-03-01,dog"], HEAD, "which may lie outside the folder"),
        (["/etc/c.png,eve,x,2015-03-01,dog"], HEAD, r"names '/etc/c\.png', which may lie outside"),
        (["C:\\own\\c.png,eve,x,2015-03-01,dog"], HEAD, "which may lie outside the folder; give paths inside it"),
        (
            ["a/9.png,eve,x,2015-03-01,dog", ROWS[1]],
            HEAD,
            r"own lacks 1 of the 2 pictures that .*own\.csv names: a/9\.png",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_words(copy, rows, head, words):
    with pytest.raises(ValueError, match=words):
        data.albums(*copy(*rows, head=head), size=8)


@pytest.mark.parametrize(
    "date",
    ["2015-13-01", "2015-02-30", "01.03.2015", "2015:03-01", "2015-03-01 25:00", "0000:00:00 00:00:00", "1425168000"],
)
def test_a_date_that_is_none_is_named_with_its_picture(copy, date):
    with pytest.raises(
        ValueError, match=f"own.csv gives a/1.png the date '{date}'; write 2015-03-01, .*2015:03:01 12:30"
    ):
        data.albums(*copy(f"a/1.png,eve,x,{date},dog"), size=8)


def test_files_that_cannot_be_read_are_named(copy, tmp_path):
    folder, table = copy(*ROWS)
    (folder / "c.png").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"own: 1 of 4 pictures: c\.png holds a page"):
        data.albums(folder, table, size=8)
    table.write_bytes("file,user,labels\na/1.png,zoë,x".encode("utf-16"))
    with pytest.raises(ValueError, match=r"own\.csv cannot be read \(UnicodeDecodeError"):
        data.albums(folder, table)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv is not there"):
        data.albums(folder, tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        data.albums(tmp_path / "nowhere", copy(*ROWS)[1])


@pytest.mark.parametrize(("option", "words"), [({"size": 0}, "size=0"), ({"channels": 2}, "channels=2")])
def test_settings_are_checked(copy, option, words):
    with pytest.raises(ValueError, match=words):
        data.albums(*copy(*ROWS), **option)
    with pytest.raises(ValueError, match="split='all' is not known"):
        data.albums(*copy(*ROWS), split="all")


def test_albums_are_the_sessions_of_devices(copy):
    found = data.albums(
        *copy(*ROWS[:1], *ROWS[2:3], "c.png,eve,9,2015-03-01,dog", "a/2.png,eve,9,2015-03-01,dog"), size=8
    )
    one, two = data.devices(found.users, "session", sessions=found.sessions)
    assert np.array_equal(sorted([*one.chosen.tolist(), *two.chosen.tolist()]), [0, 1, 2, 3])
    assert two.chosen.tolist() == [0]
