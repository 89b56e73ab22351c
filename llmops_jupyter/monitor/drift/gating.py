"""A suite of gates from what changed: what the baseline was like is what must hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from llmops_jupyter.data.dataset import Dataset
from llmops_jupyter.errors import OptionError, TemplateError
from llmops_jupyter.evaluation.statistics import rate
from llmops_jupyter.evaluation.suites import read_suite
from llmops_jupyter.evaluation.variant import Variant, as_variant
from llmops_jupyter.prompts.grounding import with_place
from llmops_jupyter.prompts.template import fill, variables_of
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.evaluation.suites import Suite
    from llmops_jupyter.monitor.drift.report import Plugs, Report
    from llmops_jupyter.monitor.drift.sample import Sample
    from llmops_jupyter.prompts import Prompts
    from llmops_jupyter.prompts.registry import PromptVersion

Pairs: TypeAlias = "Sequence[tuple[str, Mapping[str, Any]]]"
# Metrics of numbers that are features, too: the mean may not be beyond this quantile of the baseline.
FIGURES = {
    "latency s": "latency",
    "time to first token s": "first-token",
    "output tokens": "tokens",
    "cost": "cost",
}
HIGH = 0.9
# A variant that refuses as the baseline did passes with this probability, as far as the number of rows decides.
PASSES = 0.9
# Of a baseline that refuses nearly always no demand follows.
MOST = 0.95


def gated(
    report: Report,
    plugs: Plugs,
    name: str,
    *,
    variant: str,
    data: str | Dataset | None,
    gates: Sequence[Mapping[str, Any]] | None,
    limit: int,
) -> Suite:
    """Keep a suite, and the rows that it runs on if none are given; everything is checked before.

    Raises:
        OptionError: the variant cannot run on the rows, or no demand follows from the baseline and none is given.
        DataError: a demand cannot be used.
        UnknownNameError: there is no such prompt or data set.
    """
    aliases.check_name("suite", name)
    what = as_variant(variant)
    if data is None:
        fitting = _fitting(what, report.data_rows(), plugs.prompts())[:limit]
        count = len(fitting)
    else:
        found = data if isinstance(data, Dataset) else plugs.data().get(data)
        count = len(_all_fit(what, list(found.items()), plugs.prompts()))
        reference = found.ref if isinstance(data, Dataset) else data
    demands, untold = _demands(report, count) if gates is None else ([*map(dict, gates)], [])
    read_suite(_text(name, "data", variant, report, demands, untold))
    if data is None:
        reference = plugs.to_data(name, fitting, report.origin).ref
    return plugs.save_suite(name, _text(name, reference, variant, report, demands, untold))


def _fitting(what: Variant, pairs: Pairs, prompts: Prompts) -> Pairs:
    """The rows that a variant can run on.

    Raises:
        OptionError: it can run on none; says what they lack.
    """
    reasons = _reasons(what, pairs, prompts)
    fitting = [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]
    if not fitting:
        raise OptionError(reasons[0])
    return fitting


def _all_fit(what: Variant, pairs: Pairs, prompts: Prompts) -> Pairs:
    """The rows, on each of which the variant can run.

    Raises:
        OptionError: it cannot run on one; says what that lacks.
    """
    for reason in filter(None, _reasons(what, pairs, prompts)):
        raise OptionError(reason)
    return pairs


def _reasons(what: Variant, pairs: Pairs, prompts: Prompts) -> list[str]:
    """Why a variant cannot run on each of the rows; '' where it can."""
    if what.column:
        given = f"Columns: {_listed(_columns(pairs))}."
        lacking = f"The rows have no column {what.column!r} for {what.label}. {given}"
        return ["" if row.get(what.column) is not None else lacking for _, row in pairs]
    if not isinstance(what.prompt, str):
        raise OptionError(
            "A suite is a text, so name what is gated in one: 'support@production' or 'column=output'."
        )
    prompt = prompts.get(what.prompt)
    has_documents = bool({**prompt.defaults, **what.options}.get("rag"))
    return [_unfilled(prompt, with_place(row, has_documents)) for _, row in pairs]


def _unfilled(prompt: PromptVersion, row: Mapping[str, Any]) -> str:
    """Why a prompt's template cannot be filled from a row; '' if it can: a name that has a default may be absent."""
    template = prompt.content.template
    try:
        fill(template, row)
    except TemplateError as e:
        lacking = [name for name in variables_of(template) if name not in row]
        if not lacking:
            return str(e)
    else:
        return ""
    names = ", ".join(f"{{{{ {name} }}}}" for name in lacking)
    return (
        f"The prompt {prompt.ref} needs {names}, and the rows have only the columns {_listed(row)}. Give rows with such "
        "columns, data=…, or name a prompt that takes these: variant=…"
    )


def _columns(pairs: Pairs) -> list[str]:
    return list(dict.fromkeys(name for _, row in pairs for name in row))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _text(
    name: str,
    data: str,
    variant: str,
    report: Report,
    demands: Sequence[Mapping[str, Any]],
    untold: Sequence[str],
) -> str:
    """The YAML of a suite.

    Raises:
        OptionError: there is no demand.
    """
    import yaml

    if not demands:
        changed = f"; what changed ({', '.join(untold)}) has no metric" if untold else ""
        raise OptionError(
            f"No demand follows from this baseline: it has no answers that were refused or not{changed}. Give some, as in "
            "gates=[{'metric': 'refusal', 'at_most': 0.1}]."
        )
    content = {"name": name, "data": data, "variant": variant, "gates": list(demands)}
    about = [
        f"Made from drift against {report.baseline.ref}, {report.at}.",
        *report.summary().split("; "),
    ]
    if untold:
        about.append(
            f"Changed, but without a demand here: {', '.join(untold)}. Write your own, if one is to hold."
        )
    lines = [f"# {' '.join(line.split())}" for line in about]
    return "\n".join([*lines, yaml.safe_dump(content, sort_keys=False, allow_unicode=True)])


def _demands(report: Report, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Demands that follow from the baseline, for so many rows; and what changed without one.

    Refusals may be no more frequent than the baseline's may be, and figures that changed no larger than its large ones.
    """
    import numpy as np

    before = report.reference
    found: list[dict[str, Any]] = []
    most = _most_refusals(_binary(before, "refusal"), count)
    if most is not None:
        found.append({"metric": "refusal", "at_most": most})
    untold = []
    for feature in dict.fromkeys(test.feature for test in report.changed):
        metric = FIGURES.get(feature)
        if metric is None:
            if feature != "refusal" or most is None:
                untold.append(feature)
            continue
        values = before.numbers[feature]
        limit = float(np.quantile(values[np.isfinite(values)], HIGH))
        if limit > 0:
            found.append({"metric": metric, "at_most": float(f"{limit:.3g}")})
        else:
            untold.append(feature)
    return found, untold


def _most_refusals(refusals: Sequence[int], count: int) -> float | None:
    """The limit of refusals on so many rows; None where there is none.

    It is the upper bound of the baseline's share (Clopper and Pearson, 95 %). Few rows cannot show that they are
    below the bound of a large baseline: no refusal in 100 rows leaves up to 3.7 % possible. So the limit is at least the
    upper bound (Wilson's, as gates have it) of so many refusals as a variant like the baseline stays within nine
    times of ten.
    """
    from scipy.stats import binom

    if not refusals:
        return None
    of_baseline = rate(refusals, method="clopper-pearson")
    usual = int(binom.ppf(PASSES, count, of_baseline.value))
    shown = rate([1] * usual + [0] * (count - usual))
    limit = max(of_baseline.interval.high, shown.interval.high)
    return math.ceil(1000 * limit) / 1000 if limit < MOST else None


def _binary(sample: Sample, name: str) -> list[int]:
    return [int(v == "yes") for v in sample.categories.get(name, ()) if v is not None]
