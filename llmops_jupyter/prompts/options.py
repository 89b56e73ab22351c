"""Settings of one call: what its keywords, a version's last run and the workspace say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmops_jupyter.config import Settings, check_sampling, number
from llmops_jupyter.errors import OptionError, did_you_mean
from llmops_jupyter.prompts.conversation import KIND as SESSION
from llmops_jupyter.records import Sampling
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.guard.running import Pipeline
    from llmops_jupyter.prompts.guarding import FindPolicy
    from llmops_jupyter.prompts.permission import Allow, Approve
    from llmops_jupyter.prompts.tools import FunctionTool

SAMPLING = tuple(f.name for f in fields(Sampling))
TOOLS = ("tools", "tool_choice", "max_steps", "approve", "allow")
DOCUMENTS = ("rag", "rag_tokens", "rag_where", "rag_rerank", "rag_only", "rag_quote")
OTHERS = ("model", "session", "adapters", "schema", "exact", "timeout", "guard", *TOOLS, *DOCUMENTS)
# What says that no policy holds, though one was remembered.
NO_GUARD = "none"
MAX_STEPS = 8
MOST_SCALE = 100.0


class Registered(Protocol):
    """A registered model, as far as an adapter is concerned."""

    @property
    def ref(self) -> str: ...
    @property
    def path(self) -> Path: ...


# The model that a registered adapter is for, by its reference; None if the default one will do, or none is known.
FindBase = Callable[[str], "str | None"]


class FindAdapter(Protocol):
    """Finds a registered adapter that may be used with a model; the workspace plugs this in.

    It gets the adapter's reference, the model's (None is the default) and the adapter's scale.
    """

    def __call__(self, ref: str, model: str | None, scale: float) -> Registered: ...


@dataclass(frozen=True)
class Adapter:
    """An adapter that a call uses: its registered version, its file and its weight."""

    ref: str
    path: str
    scale: float = 1.0


@dataclass(frozen=True)
class Documents:
    """The documents that a call is given passages of.

    Args:
        index: its name.
        tokens: of all passages together, at most; None leaves it to the index.
        where: only documents that fit, as in a search.
        rerank: a registered reranker that puts what was found in its order.
        only: an answer that the documents do not support at all is none.
        quote: answer with the documents' own sentences, without a model.
    """

    index: str
    tokens: int | None = None
    where: Mapping[str, Any] | None = None
    rerank: str | None = None
    only: bool = False
    quote: bool = False


@dataclass(frozen=True)
class Options:
    """Settings of one call; they make no version.

    `timeout` is in seconds, for the whole run. `tool_choice` is that of the first steps, one each; `max_steps`
    how often the model is asked at most. `approve` and `allow` decide about functions with side effects.
    `guard` is the policy that the run is under, and `guard_said` its reference as it was written, which may be an alias,
    or 'none'. `model_by_adapter` says that nobody named the model, but an adapter is for it. `notes` are for the user.
    """

    model: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    session: str | None = None
    adapters: tuple[Adapter, ...] = ()
    exact: bool = False
    model_class: Any = None
    timeout: float | None = None
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: tuple[str, ...] = ()
    max_steps: int = MAX_STEPS
    approve: Approve = "ask"
    allow: Allow | None = None
    documents: Documents | None = None
    guard: Pipeline | None = None
    guard_said: str = ""
    model_by_adapter: bool = False
    notes: tuple[str, ...] = ()

    def defaults(self) -> dict[str, Any]:
        """What is remembered with the version, as JSON values."""
        kept: dict[str, Any] = {n: getattr(self.sampling, n) for n in SAMPLING}
        kept["stop"] = list(self.sampling.stop)
        kept["logit_bias"] = [list(pair) for pair in self.sampling.logit_bias]
        if self.model and not self.model_by_adapter:
            kept["model"] = self.model
        if self.adapters:
            kept["adapters"] = self.adapter_pairs()
        if self.exact:
            kept["exact"] = True
        if self.guard_said:
            kept["guard"] = self.guard_said
        return kept

    def adapter_pairs(self) -> list[list[Any]]:
        """Reference and scale of each adapter."""
        return [[a.ref, a.scale] for a in self.adapters]


def make_options(
    given: Mapping[str, Any],
    settings: Settings,
    defaults: Mapping[str, Any],
    find_adapter: FindAdapter,
    find_base: FindBase,
    find_policy: FindPolicy,
) -> Options:
    """Options from a call's keywords; what is None comes from `defaults`, then from `settings`.

    Where no model is named, the first adapter says which one it is for.

    Raises:
        OptionError: an option has an unknown name, another type or a value out of range.
        UnknownNameError, ModelError: an adapter is not registered, is none, or does not go with the model.
        UnknownNameError, GuardError: there is no such guard policy, or it cannot be used here.
    """
    known = {*OTHERS, *SAMPLING}
    for name in given:
        if name not in known:
            raise OptionError(
                f"There is no option {name!r}.{did_you_mean(name, known)} "
                f"Options: {', '.join(sorted(known))}."
            )
    base: dict[str, Any] = {
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
    }
    base.update({k: v for k, v in defaults.items() if k in SAMPLING})
    base.update({k: v for k, v in given.items() if k in SAMPLING and v is not None})
    schema, exact, adapters = given.get("schema"), given.get("exact"), given.get("adapters")
    if exact is None:
        exact = defaults.get("exact", settings.exact)
    if adapters is None:
        adapters = defaults.get("adapters", ())
    pairs = adapter_pairs(adapters)
    model = _model(given.get("model") or defaults.get("model") or settings.model)
    by_adapter = find_base(pairs[0][0]) if model is None and pairs else None
    model = model or by_adapter
    return Options(
        model=model,
        model_by_adapter=by_adapter is not None,
        sampling=check_sampling(Sampling(**base)),
        session=_session(given.get("session")),
        adapters=tuple(_adapter(*pair, model, find_adapter) for pair in pairs),
        exact=bool(exact),
        model_class=schema if hasattr(schema, "model_validate") else None,
        timeout=_timeout(given.get("timeout")),
        documents=_documents(given),
        **_guard(given.get("guard"), defaults.get("guard"), find_policy),
        **_tools(given),
    )


def _guard(given: Any, before: Any, find: FindPolicy) -> dict[str, Any]:
    """The policy that is named, else the one of the last run; 'none' and '' mean none."""
    from llmops_jupyter.guard.kept import PolicyVersion

    policy = before if given is None else given
    if not policy or policy == NO_GUARD:
        return {"guard_said": NO_GUARD if policy is not None else ""}
    if not isinstance(policy, str | PolicyVersion):
        raise OptionError(f"guard is the name of a guard policy, not {policy!r:.80}.")
    said = policy if isinstance(policy, str) else policy.ref
    return {"guard": find(policy), "guard_said": said}


def _documents(given: Mapping[str, Any]) -> Documents | None:
    """The checked settings of documents."""
    index, tokens, where = (given.get(name) for name in DOCUMENTS[:3])
    if index is None:
        for name in DOCUMENTS[1:]:
            if given.get(name):
                raise OptionError(
                    f"{name} is for prompts that are given documents. Name an index: rag='docs'."
                )
        return None
    if not isinstance(index, str):
        raise OptionError(f"rag is the name of an index, not {index!r:.80}.")
    if tokens is not None and (
        isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1
    ):
        raise OptionError(f"rag_tokens is a number of tokens from 1, not {tokens!r:.80}.")
    if where is not None and not isinstance(where, Mapping):
        raise OptionError('rag_where is a mapping such as {"source": "docs/*"}.')
    return Documents(
        *(index, tokens, where or None, given.get("rag_rerank") or None),
        *(bool(given.get("rag_only")), bool(given.get("rag_quote"))),
    )


def _timeout(seconds: Any) -> float | None:
    if seconds is None:
        return None
    found = number("timeout", seconds)
    if not 0 < found < float("inf"):
        raise OptionError(f"timeout is a number of seconds above 0, not {seconds!r}.")
    return found


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    """The checked settings of tools."""
    choice, steps = given.get("tool_choice"), given.get("max_steps")
    if given.get("tools") is None:
        for name in TOOLS[1:]:
            if given.get(name) is not None:
                raise OptionError(
                    f"{name} is for prompts with tools. Give tools=…, or leave it out."
                )
        return {}
    from llmops_jupyter.engine.toolcalls import chosen_tools
    from llmops_jupyter.prompts.permission import check_approve
    from llmops_jupyter.prompts.tools import as_tools

    tools = as_tools(given["tools"])
    if isinstance(choice, str):
        choice = choice.split(",")
    choices = tuple(str(one).strip() for one in choice or ())
    for one in choices:
        chosen_tools([tool.tool for tool in tools], one)
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise OptionError(f"max_steps is a whole number from 1, not {steps!r:.80}.")
    allow = given.get("allow")
    return {
        "tools": tools,
        "tool_choice": choices,
        "max_steps": steps or MAX_STEPS,
        "approve": check_approve(given.get("approve"), allow),
        "allow": allow,
    }


def _model(name: Any) -> str | None:
    if name and not isinstance(name, str):
        raise OptionError(f"model is the name of a model, not {name!r:.80}.")
    return name or None


def _session(name: Any) -> str | None:
    if not name:
        return None
    if not isinstance(name, str):
        raise OptionError(f"session is the name of a conversation, not {name!r:.80}.")
    return aliases.check_name(SESSION, name)


def adapter_pairs(given: Any) -> list[tuple[str, float]]:
    """References and scales from ``"style"``, ``"style:0.5"``, ``("style", 0.5)``, or a list of these."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple):
        raise OptionError(f"adapters is a list, not {given!r:.80}. {ADVICE}")
    if (
        len(given) == 2
        and isinstance(given[0], str)
        and not isinstance(given[1], str | list | tuple)
    ):
        given = [given]
    return [_pair(one) for one in given]


ADVICE = 'For instance adapters=["style:0.5"] or adapters=[("style", 0.5)].'


def _pair(one: Any) -> tuple[str, float]:
    if isinstance(one, str):
        ref, colon, text = one.partition(":")
        try:
            one = (ref, float(text)) if colon else (ref, 1.0)
        except ValueError as e:
            raise OptionError(f"{one!r} is no adapter. Write NAME or NAME:SCALE.") from e
    if not isinstance(one, list | tuple) or len(one) != 2 or not isinstance(one[0], str):
        raise OptionError(f"{one!r:.80} is no adapter. {ADVICE}")
    scale = number(f"The scale of {one[0]!r}", one[1])
    if not -MOST_SCALE <= scale <= MOST_SCALE:
        raise OptionError(
            f"The scale of {one[0]!r} must lie between -100 and 100; it is {scale:g}."
        )
    return one[0], scale


def _adapter(ref: str, scale: float, model: str | None, find: FindAdapter) -> Adapter:
    found = find(ref, model, scale)
    return Adapter(found.ref, str(found.path), scale)
