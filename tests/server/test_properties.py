"""Anything at all may be asked: a real server never fails, and answers as its document says."""

from __future__ import annotations

import copy
import os
import threading
from collections import Counter

import pytest
import schemas
from hypothesis import HealthCheck, Phase, given, settings
from servers import TOKEN, Server

import llmops_jupyter as lo

schemathesis = pytest.importorskip("schemathesis")

EXAMPLES = int(os.environ.get("LLMOPS_EXAMPLES", "25"))
SEEN: Counter[str] = Counter()


@pytest.fixture(scope="module")
def living(tmp_path_factory, quiet):
    """A server over a store of its own, which the tests may change."""
    from contents import fill

    root = tmp_path_factory.mktemp("living")
    with lo.open(root / "shop") as ws:
        made = fill(ws, root)
    with Server(root) as running:
        running.made = made
        running.workspace = running.id_of()
        yield running


DOCUMENT = copy.deepcopy(schemas.DOCUMENT)
# Who asks is told by a header of ours.
del DOCUMENT["security"], DOCUMENT["components"]["securitySchemes"]
api = schemathesis.openapi.from_dict(DOCUMENT)


OPERATIONS = {made.ok().label: made.ok() for made in api.get_all_operations()}


# What fits the document, and what does not; nothing of an operation that takes nothing can be wrong.
ASKED = [
    (label, mode)
    for label, made in OPERATIONS.items()
    for mode in ("POSITIVE", "NEGATIVE")
    if mode == "POSITIVE" or made.body or list(made.iter_parameters())
]


@pytest.mark.parametrize(("label", "mode"), ASKED)
def test_whatever_is_asked_is_answered_as_described(label, mode, living):
    from schemathesis.generation import GenerationMode

    @given(OPERATIONS[label].as_strategy(generation_mode=GenerationMode[mode]))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        _ask(case, living)

    ask()
    assert SEEN[label]


def _ask(case, living):
    """Ids and names that are there take the place of half of those that were made up."""
    known = {
        "workspace": living.workspace,
        "trace": living.made["traces"][0],
        "prompt": "reply",
        "alias": "production",
        "index": "handbook",
        "dataset": "hard-cases",
    }
    place = SEEN[case.operation.label]
    for name in dict(case.path_parameters or {}):
        if name in known and (name == "workspace" or place % 2):
            case.path_parameters[name] = known[name]
    SEEN[case.operation.label] += 1
    response = case.call(
        base_url=living.address.rstrip("/"), headers={"Authorization": f"token {TOKEN}"}, timeout=30
    )
    assert response.status_code < 500, response.text
    if case.method.upper() == case.operation.method.upper():
        told = case.operation.definition.raw["responses"]
        # Some of what is made up is no address of this route any more, once it was written down.
        assert str(response.status_code) in {*told, "404"}, response.text
        if response.status_code == 200 and case.path != "/openapi.yaml":
            answered = schemas.answer_of(case.path, case.method.lower())
            schemas.check(answered, response.json())
    if response.status_code >= 400:
        schemas.check("Error", response.json())


def test_every_operation_is_asked_and_the_server_lives(living):
    told = {
        f"{verb.upper()} {path}"
        for path, about in schemas.DOCUMENT["paths"].items()
        for verb in set(about) - {"parameters"}
    }
    assert set(OPERATIONS) == told
    assert not [t for t in threading.enumerate() if "llmops-server" in t.name and not t.is_alive()]
    assert living.get("versions").status_code == 200
