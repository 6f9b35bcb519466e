"""Find a file, check it, or download it so that an interrupted download goes on where it stopped."""

import functools
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pooch
import requests
from tqdm import tqdm

from privlab.data.catalogue import File


@dataclass(frozen=True)
class Found:
    """A checked file: where it lies, its SHA-256, and `publisher` or `local copy`."""

    path: Path
    sha256: str
    source: str


def cache_folder() -> Path:
    """The user's cache of downloaded data (PRIVLAB_CACHE moves it)."""
    return Path(os.environ.get("PRIVLAB_CACHE") or platformdirs.user_cache_path("privlab") / "data")


def local_folder() -> Path | None:
    """The folder named by PRIVLAB_DATA, looked in first, or None. Raises FileNotFoundError if it is not there."""
    name = os.environ.get("PRIVLAB_DATA")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"PRIVLAB_DATA={name!r} is not a folder; point it at your data or unset it")
    return folder


@functools.lru_cache(maxsize=256)
def _digest(path: Path, algorithm: str, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, computed once as long as the file does not change."""
    state = path.stat()
    return _digest(path, algorithm, state.st_size, state.st_mtime_ns)


def listed(folder: Path) -> dict[str, str]:
    """The folder's own SHA256SUMS, path -> checksum; empty if it has none."""
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in sums.read_text().splitlines() if line.strip()]
    return {name.strip().lstrip("*"): value for value, name in lines}


def check(path: Path, *, published: str = "", folder: Path | None = None) -> Found:
    """Check a local file against the folder's SHA256SUMS, else against the publisher's checksum.

    Raises ValueError with both checksums for an altered file, which is left where it is.
    """
    actual = digest(path)
    algorithm, _, wanted = published.partition(":")
    is_published = bool(wanted) and digest(path, algorithm) == wanted
    own = listed(folder).get(path.relative_to(folder).as_posix()) if folder else None
    if own and actual != own:
        raise ValueError(_altered(path, f"sha256:{own}", f"sha256:{actual}", "the folder's SHA256SUMS"))
    if wanted and not own and not is_published:
        raise ValueError(_altered(path, published, f"{algorithm}:{digest(path, algorithm)}", "the publisher"))
    return Found(path, actual, "publisher" if is_published else "local copy")


def _altered(path: Path, wanted: str, actual: str, who: str) -> str:
    return (
        f"{path} is not the file that {who} describes: expected {wanted}, got {actual}. It was left as it is; "
        "fetch it again, or list a copy you trust in a SHA256SUMS beside it."
    )


class _Resume:
    """A pooch downloader that keeps what it has in FILE.part and asks only for the rest."""

    def __init__(self, part: Path, progress: bool) -> None:
        self.part, self.progress = part, progress

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        with requests.get(
            url, stream=True, timeout=30, headers={"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        ) as reply:
            if reply.status_code == 416:  # nothing is left to ask for
                shutil.move(self.part, output)
                return
            reply.raise_for_status()
            have = have if reply.status_code == 206 else 0  # 200: the server sends the whole file again
            total = have + int(reply.headers.get("Content-Length", 0))
            bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=not self.progress, desc=url[-40:])
            with bar, self.part.open("ab" if have else "wb") as file:
                for chunk in reply.iter_content(1 << 16):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total and self.part.stat().st_size < total:
            raise requests.exceptions.ConnectionError(f"the connection ended before all of {url} had come")
        shutil.move(self.part, output)


def download(file: File, *, progress: bool = True) -> Found:
    """Fetch a published file into the cache and check it.

    An interrupted or cut-off download stays beside its place as FILE.part and goes on there next time.
    Raises OSError when the address cannot be reached or the connection breaks, and ValueError, with both
    checksums, for an altered file, which is not kept.
    """
    target = cache_folder() / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    pooch.get_logger().setLevel("WARNING")
    path = pooch.retrieve(
        file.url, known_hash=file.checksum, fname=target.name, path=target.parent, downloader=_Resume(part, progress)
    )
    return Found(Path(path), digest(Path(path)), "publisher")
