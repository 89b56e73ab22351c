"""A GGUF model as a Hugging Face folder, which vLLM and transformers read: written, loaded back, compared.

transformers unpacks the weights and builds the tokenizer itself, and knows fewer architectures than
llama.cpp. So what it wrote is measured against the file: what comes next, and how texts are cut.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_jupyter.engine.distance import LAST, Predictions
from llmops_jupyter.errors import ModelArchitectureError, ModelMemoryError, missing_dependency
from llmops_jupyter.finetune.lora import Lora
from llmops_jupyter.models import GGUFMetadata, available_memory
from llmops_jupyter.models.memory import megabytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PURPOSE = "A folder for vLLM"
SPARE = 1.3
# Texts on which tokenizers are known to differ, beside prose.
HARD_TEXTS = (
    "½ ² ① ㎏ ﬁ Ⅳ",
    "naïve café, Straße, Ελληνικά, русский, العربية, हिन्दी, 日本語, 한국어",
    "  two spaces\n\n\ttab\r\nend  ",
    "1234567890 3.14159 1,000,000 2026-11-28 0xFF",
    "def f(x):\n    return {'a': [x, -x]}  # note",
    "don't we'll I'VE rock'n'roll",
    "🙂👩‍👩‍👧 e\u0301 \u200b zero width",
    "<b>not a token</b> </s> [INST] {{ braces }}",
)


def write_folder(
    source: Path, metadata: GGUFMetadata, folder: Path, *, lora: Lora | None, scale: float = 1.0
) -> int:
    """Write weights in BF16, configuration and tokenizer of a GGUF model; returns how many weights there are.

    Args:
        source: the GGUF file.
        metadata: what it says of itself.
        folder: that is there.
        lora: merged into the weights; None leaves them as they are.
        scale: of the adapter.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        ModelArchitectureError: transformers cannot read this file.
        ModelMemoryError: the unpacked weights do not fit.
    """
    torch, transformers = _libraries()
    _check_memory(metadata)
    with _named(source, folder) as place, _quiet(transformers):
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(place.parent),
                gguf_file=place.name,
                dtype=torch.float32,
                quantization_config=transformers.GgufConfig(dequantize=True),
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(place.parent), gguf_file=place.name
            )
        except (ValueError, KeyError, NotImplementedError, OSError, TypeError, RuntimeError) as e:
            why = (str(e).splitlines() or [type(e).__name__])[0].rstrip(".")
            raise ModelArchitectureError(
                f"transformers {transformers.__version__} cannot read {source.name!r} (architecture "
                f"{metadata.architecture!r}): {why}. Export it as gguf or ollama, or serve the original "
                "model of its makers with vLLM."
            ) from e
        if lora is not None:
            _add(model, lora, scale)
        model.config._name_or_path = ""  # noqa: SLF001 - it would name a folder that is gone
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.to(torch.bfloat16).save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    return int(sum(values.numel() for values in model.parameters()))


def predict_folder(
    folder: Path,
    tokens: Sequence[Sequence[int]],
    adapter: Path | None = None,
    threads: int | None = None,
) -> Predictions:
    """What the folder's model expects next, computed by transformers in F32.

    Args:
        folder: as `write_folder` makes it.
        tokens: of the prompts.
        adapter: a folder of PEFT that is put on it.
        threads: None leaves torch's own number.
    """
    import numpy as np

    torch, transformers = _libraries()
    with _quiet(transformers):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True
        )
        if adapter is not None:
            model = _with_adapter(model, adapter)
    model.eval()
    rows: list[NDArray[np.float32]] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.no_grad():
            for each in tokens:
                logits = model(torch.tensor([list(each)])).logits[0, -LAST:]
                rows.extend(torch.log_softmax(logits.float(), dim=-1).numpy())
    finally:
        torch.set_num_threads(before)
    return Predictions(tuple(tuple(each) for each in tokens), np.array(rows, np.float32))


def tokenize_folder(folder: Path, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """The tokens of texts by the folder's own tokenizer, with what it puts before them."""
    _, transformers = _libraries()
    with _quiet(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        return [tuple(int(t) for t in tokenizer(text)["input_ids"]) for text in texts]


def _with_adapter(model: Any, adapter: Path) -> Any:
    try:
        import peft
    except ImportError as e:
        raise missing_dependency("peft", PURPOSE, "finetune") from e
    return peft.PeftModel.from_pretrained(model, str(adapter))


def _add(model: Any, lora: Lora, scale: float) -> None:
    """Change the weights to W + scale · B A."""
    import torch

    with torch.no_grad():
        for module, (a, b) in lora.factors.items():
            try:
                weight = model.get_submodule(module).weight
            except AttributeError as e:
                raise ModelArchitectureError(
                    f"The adapter changes {module!r}, which the model in transformers does not have. "
                    "Export it as gguf or ollama."
                ) from e
            weight += scale * lora.scale * (torch.from_numpy(b) @ torch.from_numpy(a))


def _check_memory(metadata: GGUFMetadata) -> None:
    needed, free = int(SPARE * 4 * metadata.parameters), available_memory().bytes
    if needed > free:
        raise ModelMemoryError(
            f"The unpacked weights of {metadata.name!r} need about {megabytes(needed)} and {megabytes(free)} "
            "are free. Export it as gguf or ollama, or on a machine with more memory."
        )


@contextlib.contextmanager
def _named(source: Path, folder: Path) -> Iterator[Path]:
    """The file alone in a folder under a name that ends in .gguf, as transformers needs it."""
    from llmops_jupyter.finetune.whole import aside, place

    with aside(folder.parent) as alone:
        yield place(source, alone / "model.gguf")


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and no remarks of transformers; its settings are put back."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # The bar over the tensors of a GGUF file heeds no setting.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
    except ImportError as e:
        raise missing_dependency("torch", PURPOSE, "finetune") from e
    try:
        import transformers
    except ImportError as e:
        raise missing_dependency("transformers", PURPOSE, "finetune") from e
    return torch, transformers
