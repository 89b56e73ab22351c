"""The weights that are served, as a torch model: dequantised once, and compared before anything is learned."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import ModelArchitectureError, ModelError, missing_dependency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def load(path: Path, dtype: Any, *, folder: Path | None = None, packed: bool = False) -> Any:
    """A transformers model with the weights of a GGUF file, or of the folder that the file was made from.

    Args:
        path: the GGUF file that is served.
        dtype: torch's type of the weights.
        folder: a Hugging Face folder with the same model, for architectures that cannot be read from GGUF.
        packed: keep the weights in 4 bits (NF4); needs CUDA and bitsandbytes.

    Raises:
        ModelArchitectureError: the architecture cannot be read from GGUF; the message asks for the folder.
        ModelError: the folder holds no model that can be loaded.
        MissingDependencyError: torch, transformers or bitsandbytes is not installed.
    """
    try:
        import transformers
        from transformers import AutoModelForCausalLM
    except ImportError as e:
        raise missing_dependency(e.name or "transformers", "Fine-tuning", "finetune") from e
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    if packed:
        options["quantization_config"] = _four_bits(dtype)
        if folder is None:
            raise ModelError(
                "4 bits are packed from the Hugging Face folder that the model was made from. Name it "
                "with --weights FOLDER, or leave --quantize out."
            )
    with _quiet():
        if folder is not None:
            return _of_folder(AutoModelForCausalLM, folder, options)
        # Newer releases keep the weights packed unless they are told not to.
        if hasattr(transformers, "GgufConfig"):
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        try:
            return _made(AutoModelForCausalLM, path.parent, {"gguf_file": path.name, **options})
        except (ValueError, NotImplementedError, KeyError) as e:
            if "not supported" not in str(e):
                raise
            raise ModelArchitectureError(
                f"Models such as {path.name!r} cannot be read for training from GGUF ({e}). Name the "
                "Hugging Face folder that it was made from: --weights FOLDER"
            ) from e


def _of_folder(auto: Any, folder: Path, options: dict[str, Any]) -> Any:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{str(folder)!r} has no config.json. Name a Hugging Face model folder.")
    try:
        return _made(auto, folder, {"local_files_only": True, **options})
    except (OSError, ValueError, KeyError) as e:
        raise ModelError(f"{str(folder)!r} cannot be loaded: {' '.join(str(e).split())}") from e


def _made(auto: Any, folder: Path, options: Mapping[str, Any]) -> Any:
    """The model; attention that caps its scores (Gemma 2) is in plain torch only."""
    try:
        return auto.from_pretrained(str(folder), **options)
    except ValueError as e:
        if "attention implementation" not in str(e):
            raise
    return auto.from_pretrained(str(folder), **{**options, "attn_implementation": "eager"})


def _four_bits(dtype: Any) -> Any:
    try:
        import bitsandbytes  # noqa: F401 - transformers needs it
        from transformers import BitsAndBytesConfig
    except ImportError as e:
        raise missing_dependency("bitsandbytes", "Packing weights in 4 bits", "finetune") from e
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and remarks; errors are raised all the same."""
    from transformers.utils import logging as its

    level, bars = its.get_verbosity(), its.is_progress_bar_enabled()
    its.set_verbosity(logging.ERROR)
    its.disable_progress_bar()
    try:
        yield
    finally:
        its.set_verbosity(level)
        if bars:
            its.enable_progress_bar()
