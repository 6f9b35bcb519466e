"""SHA256SUMS as people write it: understood, or refused with the line."""

import hashlib

import numpy as np
import pytest

from privlab import data
from privlab.data import sums

ONE, TWO = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        f"{ONE}  a/b c.npz",
        f"{ONE} *a/b c.npz",
        f"{ONE.upper()}  a/b c.npz",
        f"{ONE}  ./a/b c.npz",
        f"{ONE}\ta/b c.npz",
        f"\\{ONE} *a\\\\b c.npz",
        f"{ONE} *.\\a\\b c.npz",
        f"SHA256 (a/b c.npz) = {ONE}",
        f"SHA256 (./a/b c.npz) = {ONE.upper()}",
        f"SHA256(a/b c.npz)= {ONE}",
        f"SHA2-256(a/b c.npz)= {ONE}",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_every_program_are_understood(tmp_path, line, encoding, end):
    text = f"# made by hand{end}{end}{line}{end}{TWO}  other.npz"
    (tmp_path / "SHA256SUMS").write_bytes(text.encode(encoding))
    assert sums.listed(tmp_path) == {"a/b c.npz": ONE, "other.npz": TWO}


@pytest.mark.parametrize(
    "line", ["abc  short.npz", f"{ONE}", "own.npz", f"MD5 (own.npz) = {ONE[:32]}", f"own.npz  {ONE}", f"{ONE}x own.npz"]
)
def test_a_line_that_cannot_be_read_is_an_error_with_its_number(tmp_path, line):
    (tmp_path / "SHA256SUMS").write_text(f"{TWO}  good.npz\n{line}\n")
    with pytest.raises(ValueError, match=r"^.*SHA256SUMS, line 2: .* write 64 hexadecimal digits, two spaces"):
        sums.listed(tmp_path)


def test_two_checksums_of_one_file_are_an_error(tmp_path):
    (tmp_path / "SHA256SUMS").write_text(f"{ONE}  a.npz\n{ONE}  ./a.npz\n{TWO}  a.npz\n")
    with pytest.raises(ValueError, match=r"line 3: another checksum of a\.npz stands above"):
        sums.listed(tmp_path)


def test_a_list_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\x00\x81")
    with pytest.raises(ValueError, match="SHA256SUMS is not text"):
        sums.listed(tmp_path)


def test_a_file_without_an_entry_is_taken_as_it_is_and_one_in_capitals_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    for name in ("listed", "free"):
        np.savez(tmp_path / f"{name}.npz", train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.arange(2))
    (tmp_path / "SHA256SUMS").write_text(f"{sums.digest(tmp_path / 'listed.npz').upper()}  ./listed.npz\n")
    assert len(data.load("listed")) == len(data.load("free")) == 2
    (tmp_path / "SHA256SUMS").write_text(f"{ONE.upper()}  ./listed.npz\n")
    with pytest.raises(ValueError, match=f"expected sha256:{ONE}, got sha256:"):
        data.load("listed")


@pytest.mark.parametrize("above", ["data/", "a/b/", "{folder}/", "/somewhere/else/"])
def test_a_list_made_from_above_is_understood(tmp_path, monkeypatch, above):
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    np.savez(tmp_path / "own.npz", train_images=np.zeros((2, 8, 8), np.uint8), train_labels=np.arange(2))
    (tmp_path / "SHA256SUMS").write_text(f"{ONE}  {above.format(folder=tmp_path)}own.npz\n")
    with pytest.raises(ValueError, match=f"expected sha256:{ONE}"):
        data.load("own")


def test_a_list_that_is_a_folder_or_a_link_to_nothing_is_an_error(tmp_path):
    (tmp_path / "SHA256SUMS").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is not there, or is a link to nothing"):
        sums.listed(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    (tmp_path / "SHA256SUMS").mkdir()
    with pytest.raises(IsADirectoryError, match="SHA256SUMS is a folder; give a file"):
        sums.listed(tmp_path)


def test_a_folder_is_checked_file_by_file(tmp_path, monkeypatch):
    from . import zoo

    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    zoo.folder(tmp_path / "own", {"a.png": zoo.plain("red"), "b.png": zoo.plain("blue")})
    line = f"{sums.digest(tmp_path / 'own' / 'a.png')}  own/a.png\n"
    (tmp_path / "SHA256SUMS").write_text(line)
    assert len(data.load("own", size=8)) == 2
    (tmp_path / "SHA256SUMS").write_text(f"{line}{ONE}  own/b.png\n")
    with pytest.raises(ValueError, match=r"own/b\.png is not the file that the folder's SHA256SUMS describes"):
        data.load("own", size=8)
    (tmp_path / "SHA256SUMS").write_text(f"{line}{ONE}  own/c.png\n")
    with pytest.raises(ValueError, match=r"own/c\.png is listed in the folder's SHA256SUMS, and is not there"):
        data.load("own", size=8)
