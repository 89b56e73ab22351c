"""Taking personal data out of texts and of JSON values, by a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmops_jupyter.errors import PrivacyError
from llmops_jupyter.privacy.patterns import check_kinds, find

Redact = Callable[[str], str]

ALL = "pii"
MAX_DEPTH = 200
CARD_SIZED = 10**11  # whole numbers of twelve digits and more may be card numbers


def redact(text: str, kinds: Iterable[str] | None = None) -> tuple[str, dict[str, int]]:
    """The text with ``[EMAIL]`` and the like in the place of findings, and how many of each kind.

    Raises:
        PrivacyError: a kind is not known.
    """
    parts: list[str] = []
    counts: dict[str, int] = {}
    position = 0
    for finding in find(text, kinds):
        parts += [text[position : finding.start], f"[{finding.kind.upper()}]"]
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
        position = finding.end
    return "".join([*parts, text[position:]]), counts


def redactor(rule: str | Redact | None) -> Redact | None:
    """The function that a rule means; None when it is off.

    Args:
        rule: None or "" (off), "pii" (all kinds), kinds with commas between them, or a function from
            text to text. A function that raises, or returns no text, gives a PrivacyError where it is
            used, so that nothing gets by it.

    Raises:
        PrivacyError: a kind is not known, or the rule is neither text nor a function.
    """
    if rule is None:
        return None
    if isinstance(rule, str):
        names = [name.strip().lower() for name in rule.split(",") if name.strip()]
        if not names:
            return None
        kinds = check_kinds(None if ALL in names else names)
        return lambda text: redact(text, kinds)[0]
    if not callable(rule):
        raise PrivacyError(
            f"A redaction rule is 'pii', kinds such as 'email,phone', or a function from text to "
            f"text, not {type(rule).__name__}."
        )
    return _guarded(rule)


def _guarded(function: Redact) -> Redact:
    name = getattr(function, "__name__", type(function).__name__)

    def guarded(text: str) -> str:
        try:
            result: Any = function(text)
        except Exception as e:
            raise PrivacyError(
                f"The redaction function {name!r} raised {type(e).__name__}, so nothing was written. "
                "Mend the function, or switch redaction off."
            ) from e
        if not isinstance(result, str):
            raise PrivacyError(
                f"The redaction function {name!r} returned {type(result).__name__}, so nothing was "
                "written. It must return the text."
            )
        return result

    return guarded


def redact_json(value: Any, redact: Redact, *, depth: int = 0) -> Any:
    """A value with every text in it redacted, keys of mappings included.

    Whole numbers long enough for a card number are redacted as their digits. Keys that become equal
    get a number, so that no entry is lost. Objects that are no JSON become their redacted text.

    Raises:
        PrivacyError: values nest deeper than 200 levels, or what `redact` raises.
    """
    if depth > MAX_DEPTH:
        raise PrivacyError(
            f"The value nests deeper than {MAX_DEPTH} levels or refers to itself, so it cannot be "
            "redacted. Pass a flatter value."
        )
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, int):
        if abs(value) < CARD_SIZED:
            return value
        text = str(value)
        clean = redact(text)
        return value if clean == text else clean
    if isinstance(value, Mapping):
        return _redact_mapping(value, redact, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_json(item, redact, depth=depth + 1) for item in value]
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return redact_json(dump(mode="json"), redact, depth=depth + 1)
    if isinstance(value, bytes | bytearray):
        return redact(bytes(value).decode("utf-8", "replace"))
    return redact(str(value))


def _redact_mapping(value: Mapping[Any, Any], redact: Redact, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        clean = name = redact(str(key))
        again = 1
        while name in result:
            again += 1
            name = f"{clean} {again}"
        result[name] = redact_json(item, redact, depth=depth + 1)
    return result
