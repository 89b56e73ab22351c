"""Files without weights that stand for adapters while a cassette plays.

A cassette has the answers that an adapter gave, and its digest; the adapter itself, some megabytes, is not
in it. What was recorded with the adapter is found by the digest that the stand-in names.
"""

from __future__ import annotations

from pathlib import Path

from llmops_jupyter.errors import ModelError
from llmops_jupyter.models.gguf import BASE_SHA256

STANDS_FOR = "llmops.stands_for"
LARGEST = 1 << 16


def digest_of(path: Path, size: int) -> str:
    """The digest of the adapter that a file of `size` bytes stands for; '' if it is no stand-in."""
    from llmops_jupyter.models.header import read_header

    if size > LARGEST:
        return ""
    try:
        return str(read_header(path).values.get(STANDS_FOR, ""))
    except ModelError:
        return ""


def write(path: Path, architecture: str, sha256: str, base_sha256: str) -> Path:
    """A stand-in for the adapter with this digest, of the base with that one."""
    from gguf import GGUFType, GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_string(STANDS_FOR, sha256)
    writer.add_string(BASE_SHA256, base_sha256)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
