"""What Ollama's Modelfile says of a model, where it can be said truly.

Ollama's templates are Go's, those in GGUF files Jinja's. It guesses the one for the other; a template is
written here only if it gives the very text that the model's own gives for conversations of several kinds
(https://github.com/ollama/ollama, docs/modelfile and docs/template).
"""

from __future__ import annotations

from collections.abc import Sequence

from llmops_jupyter.engine.chat import compiled
from llmops_jupyter.errors import ModelError

CHATML = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
    "{{ end }}<|im_start|>assistant\n"
)
_QUOTES = '"""'


def modelfile(
    *,
    model: str,
    adapter: str = "",
    template: str | None,
    stops: Sequence[str],
    system: str = "",
) -> str:
    """The text of a Modelfile.

    Args:
        model: path of the GGUF file, from the Modelfile's folder.
        adapter: the same of a GGUF adapter; '' if there is none.
        template: the model's own, Jinja; None if it has none.
        stops: texts of tokens that end an answer.
        system: what the system says in each conversation.

    Raises:
        ModelError: the system's text cannot be quoted.
    """
    known, own_system = chatml(template) if template else (False, "")
    lines = [f"FROM {model}"]
    if adapter:
        lines.append(f"ADAPTER {adapter}")
    if known:
        lines.append(f"TEMPLATE {_QUOTES}{CHATML}{_QUOTES}")
    if system or own_system:
        lines.append(f"SYSTEM {_quoted(system or own_system)}")
    for stop in stops:
        lines.append(f"PARAMETER stop {_quoted(stop)}")
    return "\n".join(lines) + "\n"


def chatml(template: str) -> tuple[bool, str]:
    """Whether a template writes ChatML, and what its system says where the conversation says nothing."""
    talk = [("user", "One?"), ("assistant", "Two."), ("user", "Three?")]
    try:
        given = _rendered(template, [("system", "Zero."), *talk])
        alone = _rendered(template, talk)
        first = _rendered(template, talk[:1])
    except ModelError:
        return False, ""
    if given != _as_chatml([("system", "Zero."), *talk]):
        return False, ""
    start, end = "<|im_start|>system\n", "<|im_end|>\n"
    system = ""
    if alone.startswith(start):
        system = alone.removeprefix(start).partition(end)[0]
    before = [("system", system)] if system else []
    same = alone == _as_chatml([*before, *talk]) and first == _as_chatml([*before, talk[0]])
    return same, system if same else ""


def _rendered(template: str, messages: Sequence[tuple[str, str]]) -> str:
    import jinja2

    values = [{"role": role, "content": content} for role, content in messages]
    try:
        return compiled(template).render(
            messages=values, add_generation_prompt=True, bos_token="", eos_token=""
        )
    except (jinja2.TemplateError, TypeError) as e:
        raise ModelError(f"The chat template refuses a conversation: {e}.") from e


def _as_chatml(messages: Sequence[tuple[str, str]]) -> str:
    spoken = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
    return f"{spoken}<|im_start|>assistant\n"


def _quoted(text: str) -> str:
    if _QUOTES in text or text.endswith('"'):
        raise ModelError(
            "Ollama's Modelfile cannot hold a text with three quotes, or with one at its end. Change the "
            "system message."
        )
    return f"{_QUOTES}{text}{_QUOTES}" if "\n" in text or '"' in text else f'"{text}"'
