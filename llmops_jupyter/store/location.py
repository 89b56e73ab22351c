"""Where the store lies, and what kind of drive that is."""

from __future__ import annotations

import os
import sys
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
    """The file meant by a path that a user gave: a folder means the store inside it."""
    given = Path(path).expanduser()
    if given.is_dir():
        inner = given if given.name == FOLDER else given / FOLDER
        return (inner / FILE).resolve()
    return given.resolve()


def make_folder(folder: Path) -> None:
    """Create the store's folder, readable by its owner only and invisible to git."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, mode=0o700)
        if folder.name == FOLDER:
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as e:
        raise StoreReadOnlyError(
            f"The folder {str(folder)!r} cannot be made ({e.strerror or e}). "
            "Set LLMOPS_HOME to a folder that you can write, or open another path."
        ) from e


def is_network_drive(path: Path) -> bool:
    """Whether a path lies on a network file system, where SQLite's shared memory is not safe."""
    if sys.platform == "win32":
        import ctypes

        drive_remote = 4
        root = str(path.resolve().anchor)
        return root.startswith("\\\\") or (
            ctypes.windll.kernel32.GetDriveTypeW(root) == drive_remote
        )
    import psutil

    resolved = path.resolve()
    best, kind = "", ""
    for part in psutil.disk_partitions(all=True):
        mount = Path(part.mountpoint)
        if resolved.is_relative_to(mount) and len(part.mountpoint) >= len(best):
            best, kind = part.mountpoint, part.fstype
    return kind.lower() in NETWORK_FILE_SYSTEMS
