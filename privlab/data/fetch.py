"""Find the files of a data set, or download them: one process at a time, going on where a download stopped."""

import os
import sys
from pathlib import Path

import platformdirs
import pooch
import requests
from filelock import AcquireReturnProxy, FileLock, Timeout
from tqdm import tqdm

from privlab.data.catalogue import Entry, File
from privlab.data.names import entry_of
from privlab.data.sums import Found, check, digest


def cache_folder() -> Path:
    """The user's cache of downloaded data (PRIVLAB_CACHE moves it)."""
    return Path(os.environ.get("PRIVLAB_CACHE") or platformdirs.user_cache_path("privlab") / "data").expanduser()


def local_folder() -> Path | None:
    """The folder named by PRIVLAB_DATA, looked in first, or None. Raises FileNotFoundError if it is not there."""
    name = os.environ.get("PRIVLAB_DATA")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"PRIVLAB_DATA={name!r} is not a folder; point it at your data or unset it")
    return folder


def own(folder: Path, name: str) -> Path | None:
    """What a data folder holds of one's own under a name: `NAME.npz`, `NAME.zip` or a folder, the first of them."""
    for suffix in (".npz", ".NPZ", ".zip", ".ZIP", ""):
        path = folder / f"{name}{suffix}"
        if path.is_file() if suffix else path.is_dir():
            return path
    return None


def locate(entry: Entry, *, progress: bool = True, online: bool = True) -> list[Found]:
    """The checked files of a data set; with `online`, missing ones are downloaded.

    Raises FileNotFoundError, with the places and the address that were tried, where they are not to be had.
    """
    folder = local_folder()
    if folder:
        copy = own(folder, entry.name)
        if copy and entry.kind != "npz" and (entry.kind == "images" or copy.suffix.lower() == ".npz"):
            return [check(copy, folder=folder)]
        here = [folder / file.path for file in entry.files]
        if here and all(path.is_file() for path in here):
            pairs = zip(here, entry.files, strict=True)
            return [check(path, published=file.checksum, folder=folder) for path, file in pairs]
        if copy and entry.kind == "beats" and any(copy.glob("*.hea")):
            return [check(copy, folder=folder)]
    cached = [cache_folder() / file.path for file in entry.files]
    if cached and all(path.is_file() for path in cached):
        return [check(path, published=file.checksum) for path, file in zip(cached, entry.files, strict=True)]
    if not (entry.files and all(file.url for file in entry.files)):
        raise FileNotFoundError(_absent(entry, folder, entry.made or "it has no address to download from"))
    if not online:
        raise FileNotFoundError(_absent(entry, folder, f"not downloaded yet: `privlab data fetch {entry.name}` does"))
    found = []
    for file in entry.files:
        try:
            found.append(download(file, progress=progress))
        except OSError as error:
            tried = f"then at {file.url} ({type(error).__name__}: {error})"
            raise FileNotFoundError(_absent(entry, folder, tried)) from None
    return found


def _absent(entry: Entry, folder: Path | None, tried: str) -> str:
    files = ", ".join(file.path for file in entry.files) or f"{entry.name}.zip or a folder {entry.name}"
    instead = f" The embedded set {entry.stand_in!r} can stand in." if entry.stand_in else ""
    places = f"in PRIVLAB_DATA={folder or '(not set)'} and in {cache_folder()}"
    return f"{entry.name} is not here: looked for {files} (or {entry.name}.npz) {places}, {tried}.{instead}"


def available(entry: Entry) -> bool:
    """Whether a data set can be loaded with no network."""
    if entry.embedded:
        return True
    try:
        return bool(locate(entry, online=False))
    except FileNotFoundError:
        return False


def prefetch(name: str, *, progress: bool = True) -> tuple[list[Path], bool]:
    """Download a data set ahead of its use: where its files lie, and whether all were there already.

    An embedded set has no files. Raises ValueError for an unknown name, and like `load` where the data are not to be
    had.
    """
    entry = entry_of(name)
    if entry.embedded:
        return [], True
    here = available(entry)
    return [item.path for item in locate(entry, progress=progress)], here


class _Resume:
    """A pooch downloader that keeps what it has in FILE.part and asks only for the rest."""

    def __init__(self, part: Path, progress: bool) -> None:
        self.part, self.progress = part, progress

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, stream=True, timeout=30, headers=headers) as reply:
            if reply.status_code == 416:  # nothing is left to ask for
                os.replace(self.part, output)
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
        os.replace(self.part, output)


def download(file: File, *, progress: bool = True) -> Found:
    """Fetch a published file into the cache and check it.

    Of several processes one downloads and the others wait: FILE.lock is held by the operating system, which lets go of
    it when its process ends, however that happens. An interrupted or cut-off download stays beside its place as
    FILE.part and goes on there next time; a FILE.part that does not lead to the publisher's file is thrown away, and
    the whole is fetched.
    Raises OSError when the address cannot be reached or the connection breaks, and ValueError, with both
    checksums, for an altered file, which is not kept.
    """
    target = cache_folder() / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target, progress):
        if target.is_file():  # another process was faster
            return check(target, published=file.checksum)
        resumed = target.with_name(f"{target.name}.part").exists()
        try:
            _retrieve(file, target, progress)
        except ValueError as error:
            if isinstance(error, OSError) or not resumed:  # requests has errors that are both
                raise
            _retrieve(file, target, progress)
    return Found(target, digest(target), "publisher")


def _alone(target: Path, progress: bool) -> AcquireReturnProxy:
    """A context within which no other process downloads the file."""
    lock = FileLock(f"{target}.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        if progress:
            print(f"{target.name}: another process is downloading it; waiting for that", file=sys.stderr)
        return lock.acquire()


def _retrieve(file: File, target: Path, progress: bool) -> None:
    downloader = _Resume(target.with_name(f"{target.name}.part"), progress)
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(file.url, file.checksum, target.name, target.parent, downloader=downloader)
    except OSError:  # requests has errors that are both
        raise
    except ValueError as error:
        raise ValueError(
            f"{file.url} sent another file than the publisher's, which was not kept: {error} "
            "A log-in page or a proxy may stand between; try again, or fetch the file yourself into PRIVLAB_DATA."
        ) from error
