"""The server against its own OpenAPI document, where schemathesis is installed."""

from __future__ import annotations

import copy

import httpx
import pytest
from serving_fakes import Writer, deployment, served

from llmops_jupyter.deploy.serving import interface
from llmops_jupyter.deploy.serving.limits import Limits

schemathesis = pytest.importorskip("schemathesis")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_whatever_fits_the_document_or_does_not_gets_an_answer_that_fits_it(tmp_path, mode):
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    document = copy.deepcopy(interface.document())
    del document["security"]  # the server of this test has no keys
    for name in ("ChatRequest", "CompletionRequest", "EmbeddingRequest"):
        document["components"]["schemas"][name]["properties"]["model"] = {"const": "support"}
    limits = Limits(notice_s=0, running=4)
    with deployment(tmp_path / "home") as ws, served(ws, Writer(), limits=limits) as service:
        schema = schemathesis.openapi.from_dict(document)
        for found in schema.get_all_operations():
            operation = found.ok()
            if mode == "NEGATIVE" and operation.method != "post":
                continue

            @settings(
                max_examples=30,
                deadline=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
                database=None,
                derandomize=True,
            )
            @given(case=operation.as_strategy(generation_mode=GenerationMode[mode]))
            def check(case):
                answer = case.call(base_url=service.url)
                assert answer.status_code < 500, answer.text
                # Parts that fit alone may not go together, which a schema does not say.
                case.validate_response(answer, excluded_checks=[positive_data_acceptance])

            check()
        assert httpx.get(f"{service.url}/health").status_code == 200
