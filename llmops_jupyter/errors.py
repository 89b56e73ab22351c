"""Errors that a user can act on.

Every error a user meets is an `LLMOpsError`. Its message is one line: what is wrong, then what to do
next. In a notebook it shows as that one line and still stops Run All and fails a notebook test, which
IPython's own `UsageError` would not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LLMOpsError(Exception):
    """Base of all errors raised on purpose by this package."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a stack: the kind and the message, on one line."""
        return [f"{type(self).__name__}: {' '.join(str(self).split())}"]


class OptionError(LLMOpsError, ValueError):
    """An option or an argument has a name or a value that cannot be used."""


class UnknownNameError(LLMOpsError, LookupError):
    """A name that was asked for (prompt, version, alias, model, data set, trace) is not there."""


class TemplateError(LLMOpsError, ValueError):
    """A prompt template cannot be parsed or filled."""


class PromptError(LLMOpsError, ValueError):
    """A prompt, a version or an alias cannot be kept as asked."""


class SchemaError(LLMOpsError, ValueError):
    """A JSON schema cannot be used, or an answer does not satisfy it."""


class DataError(LLMOpsError, ValueError):
    """Rows cannot be read or kept as a data set."""


class PrivacyError(LLMOpsError, ValueError):
    """A redaction rule cannot be used."""


class MissingDependencyError(LLMOpsError, ImportError):
    """A package that this step needs is not installed; the message has the install line."""


class StoreError(LLMOpsError):
    """The SQLite file cannot be used."""


class StoreCorruptError(StoreError):
    """The SQLite file is damaged."""


class StoreReadOnlyError(StoreError):
    """The folder or the file cannot be written."""


class StoreFullError(StoreError):
    """The disk is full; what was committed before is kept."""


class StoreVersionError(StoreError):
    """The file was made by a newer release."""


class ModelError(LLMOpsError):
    """A model cannot be found, read or loaded."""


class ModelFormatError(ModelError, ValueError):
    """The file is not a GGUF file (wrong magic or an unknown GGUF version)."""


class ModelTruncatedError(ModelError, ValueError):
    """The file ends before the tensors that its header announces."""


class ModelChangedError(ModelError):
    """The file no longer has the content that was registered."""


class ModelArchitectureError(ModelError):
    """The architecture cannot be run by the engine that is installed."""


class ModelMemoryError(ModelError, MemoryError):
    """Weights and cache do not fit into the memory that this process may use."""


class DownloadError(ModelError, ConnectionError):
    """A model could not be downloaded; what arrived is kept and resumed."""


class EngineError(LLMOpsError):
    """The inference engine failed or cannot do what was asked."""


class ContextLengthError(EngineError, ValueError):
    """The prompt has more tokens than the context holds."""


class NoProbabilitiesError(EngineError):
    """The engine cannot tell how likely given texts are."""


class DeadlineError(EngineError, TimeoutError):
    """A request did not finish within its deadline."""


class GuardError(LLMOpsError):
    """A guard policy denied a text, or a policy cannot be used.

    `verdicts` say why a text was denied.
    """

    verdicts: tuple[Any, ...] = ()


class SendError(LLMOpsError, ConnectionError):
    """Traces could not be sent to an endpoint; what it has not taken is kept and goes the next time."""


class BudgetError(LLMOpsError):
    """A budget is used up."""


class DeployError(LLMOpsError):
    """A bundle cannot be built or opened, a step of a pipeline failed, or a release cannot be moved as asked."""


class ReplayError(EngineError):
    """A cassette cannot be read, or has no recording of this request."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence such as ``Did you mean 'reply'?`` with a leading space, or '' when nothing is near."""
    names = sorted({str(k) for k in known})
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not near:
        folded = {n.casefold(): n for n in names}
        near = [
            folded[n] for n in difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
        ]
    if not near:
        near = [n for n in names if len(name) > 2 and name.casefold() in n.casefold()][:1]
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str], next_step: str) -> UnknownNameError:
    """The error for a name that is not there: a suggestion if one is near, then the next step."""
    return UnknownNameError(f"There is no {kind} {name!r}.{did_you_mean(name, known)} {next_step}")


def missing_dependency(package: str, purpose: str, extra: str) -> MissingDependencyError:
    """The error for an optional package that is not installed, with the line that installs it."""
    return MissingDependencyError(
        f'{purpose} needs {package}, which is not installed. Run: pip install "llmops-jupyter[{extra}]"'
    )
