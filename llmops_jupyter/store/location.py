"""Where the store lies, and what kind of drive that is."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from llmops_jupyter.errors import StoreReadOnlyError

FOLDER = ".llmops"
FILE = "llmops.db"

NETWORK_FILE_SYSTEMS = frozenset(  # names as the kernels report them
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afpfs",
        "afs",
        "ncpfs",
        "9p",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.rclone",
        "fuse.davfs",
        "davfs",
        "webdav",
    ]
)


def find_store_path(start: Path | None = None) -> Path:
    """The store's file for a working directory.

    `LLMOPS_HOME` names the folder if it is set. Otherwise the nearest `.llmops/llmops.db` upward, else
    a new one at the project root (the nearest folder with `.git` or `pyproject.toml`), else one in the
    working directory.
    """
    home = os.environ.get("LLMOPS_HOME")
    if home:
        return Path(home).expanduser().resolve() / FILE
    try:
        here = (start or Path.cwd()).resolve()
    except FileNotFoundError as e:
        raise StoreReadOnlyError(
            "The working directory no longer exists. Change to another one, or set LLMOPS_HOME."
        ) from e
    folders = [here, *here.parents]
    for folder in folders:
        if (folder / FOLDER / FILE).is_file():
            return folder / FOLDER / FILE
    for folder in folders:
        if (folder / ".git").exists() or (folder / "pyproject.toml").is_file():
            return folder / FOLDER / FILE
    return here / FOLDER / FILE


def as_store_path(path: str | Path) -> Path:
    """The file meant by a path that a user gave.

    A folder means the store inside it: in its `.llmops`, or its own `llmops.db`, as `LLMOPS_HOME` has it.
    Where there is nothing yet, a name with an ending is a file, such as `work.db`, and another a folder.
    """
    given = Path(path).expanduser()
    ends_open = str(path).endswith(("/", os.sep))
    if given.is_dir() or (not given.exists() and (ends_open or not given.suffix)):
        inner = given if given.name == FOLDER else given / FOLDER
        if not (inner / FILE).is_file() and (given / FILE).is_file():
            inner = given
        return (inner / FILE).resolve()
    return given.resolve()


def prepare(file: Path) -> None:
    """Create the store's folder, and an empty file that only its owner can read; git sees neither.

    SQLite gives its log files the rights of the file. A folder that was there keeps its rights.

    Raises:
        StoreReadOnlyError: the folder or the file cannot be made.
    """
    folder = file.parent
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not file.exists():
            make_private(file)
            _hide_from_git(file)
    except OSError as e:
        raise StoreReadOnlyError(
            f"The store {str(file)!r} cannot be made ({e.strerror or e}). "
            "Set LLMOPS_HOME to a folder that you can write, or open another path."
        ) from e


def make_private(file: Path) -> None:
    """An empty file that only its owner can read; nothing if there is one already."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        pass  # another process opens the same store for the first time


def keep_private(file: Path) -> None:
    """Take the rights of others off a store of ours that an earlier release or a copy left open."""
    if os.name != "posix":
        return
    for path in (
        file,
        *(file.with_name(f"{file.name}-{end}") for end in ("wal", "shm", "journal")),
    ):
        with suppress(OSError):  # the file has gone, or the drive keeps no rights
            found = path.stat()
            if found.st_uid == os.geteuid() and found.st_mode & 0o077:
                path.chmod(found.st_mode & 0o700)


def _hide_from_git(file: Path) -> None:
    """The folder is ours alone if it has our name; in another one only our files are hidden."""
    ours = file.parent.name == FOLDER
    ignore = file.parent / ".gitignore"
    if (ours or file.name == FILE) and not ignore.exists():
        ignore.write_text("*\n" if ours else f"/{FILE}*\n", encoding="utf-8")


def is_network_drive(path: Path) -> bool:
    """Whether a path lies on a network file system, where SQLite's shared memory is not safe."""
    if sys.platform == "win32":
        import ctypes

        drive_remote = 4
        root = str(path.resolve().anchor)
        return root.startswith("\\\\") or (
            ctypes.windll.kernel32.GetDriveTypeW(root) == drive_remote
        )
    resolved = path.resolve()
    best, kind = "", ""
    for mount, file_system in _mounts():
        if resolved.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, file_system
    return kind.lower() in NETWORK_FILE_SYSTEMS


def _mounts(file: Path = Path("/proc/self/mounts")) -> list[tuple[str, str]]:
    """Mount points with the names of their file systems, in the order in which they were mounted."""
    try:
        # Only a blank and a line's end are escaped: others, such as U+00A0, may be part of a name.
        lines = file.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        import psutil  # slow to load, in comparison

        return [(p.mountpoint, p.fstype) for p in psutil.disk_partitions(all=True)]
    rows = [line.split(" ") for line in lines]
    return [(_unescaped(row[1]), row[2]) for row in rows if len(row) > 2]


def _unescaped(text: str) -> str:
    r"""White space and backslashes are written as in C, \040 for a blank."""
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), text)
