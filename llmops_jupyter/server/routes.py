"""The routes of the side panel. What they answer is told in `openapi.yaml`, and done in `sections`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tornado.web
from jupyter_server.auth.decorator import authorized

from llmops_jupyter.errors import UnknownNameError
from llmops_jupyter.server.arguments import Judged, Text, Texts, Whole
from llmops_jupyter.server.handler import Handler
from llmops_jupyter.server.sections import (
    cells,
    evaluations,
    indexes,
    models,
    monitor,
    prompts,
    status,
    traces,
    trainings,
)
from llmops_jupyter.server.service import Service
from llmops_jupyter.tracing.query import STATUSES

NAMESPACE = "llmops/v1"
DOCUMENT = Path(__file__).with_name("openapi.yaml")
CURSOR, NAME, NOTE = Text(most=64), Text(most=300, least=1), Text(most=2_000, default="")
FILTERS = {
    "q": Text(most=500),
    "prompt": NAME,
    "model": NAME,
    "status": Text(choices=STATUSES),
    "notebook": Text(most=1_000, least=1),
    "session": NAME,
    "since": Text(most=40, least=1),
    "until": Text(most=40, least=1),
    "score": NAME,
}


class Document(Handler):
    """The description of these routes."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        self.query()
        self.set_header("X-Content-Type-Options", "nosniff")
        text = await self.service.run(DOCUMENT.read_bytes)
        self.finish(text, set_content_type="application/yaml")


class Workspaces(Handler):
    """Which workspaces there are."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        self.query()
        found = self.service.workspaces.found
        await self.answer(
            lambda: {"items": [facts for one in found() if (facts := one.facts()) is not None]}
        )


class Versions(Handler):
    """What may have changed; asked once a second by whoever looks."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, lambda handle: handle.versions.now())


class Status(Handler):
    """Loaded models, the last speed, alerts."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, status.status)


class Traces(Handler):
    """A page of traces."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        asked = self.query(cursor=CURSOR, limit=Whole(1, 500, default=100), **FILTERS)
        await self.read(workspace, lambda handle: traces.page(handle, **asked))


class Trace(Handler):
    """One trace."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str, trace: str) -> None:
        self.query()
        await self.read(workspace, lambda handle: traces.trace(handle, trace))


class Facets(Handler):
    """What to filter traces by."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, traces.facets)


class Scores(Handler):
    """Scores of a trace."""

    @tornado.web.authenticated
    @authorized
    async def post(self, workspace: str, trace: str) -> None:
        self.query()
        name = Text(most=100, least=1, required=True)
        given = self.body(name=name, value=Judged(), explanation=Text(most=4_000, default=""))
        await self.change(workspace, lambda opened: traces.score(opened, trace, **given))


class Datasets(Handler):
    """Which data sets there are."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, traces.datasets)


class Collected(Handler):
    """Traces that become rows of a data set."""

    @tornado.web.authenticated
    @authorized
    async def post(self, workspace: str, dataset: str) -> None:
        self.query()
        given = self.body(traces=Texts())
        await self.change(workspace, lambda opened: traces.collect(opened, dataset, **given))


class Prompts(Handler):
    """Which prompts there are."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, prompts.listed)


class Prompt(Handler):
    """One prompt with its versions."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str, name: str) -> None:
        self.query()
        await self.read(workspace, lambda handle: prompts.prompt(handle.workspace, name))


class Difference(Handler):
    """Two versions of a prompt side by side."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str, name: str) -> None:
        asked = self.query(a=Whole(required=True), b=Whole(required=True))
        await self.read(workspace, lambda handle: prompts.difference(handle, name, **asked))


class Alias(Handler):
    """Where an alias points."""

    @tornado.web.authenticated
    @authorized
    async def put(self, workspace: str, name: str, alias: str) -> None:
        self.query()
        expected = Whole(required=True, or_none=True)
        given = self.body(version=Whole(required=True), expected=expected, note=NOTE)
        await self.change(workspace, lambda opened: prompts.promote(opened, name, alias, **given))


class Rollback(Handler):
    """Where an alias pointed before."""

    @tornado.web.authenticated
    @authorized
    async def post(self, workspace: str, name: str, alias: str) -> None:
        self.query()
        given = self.body(expected=Whole(required=True), note=NOTE)
        await self.change(workspace, lambda opened: prompts.rollback(opened, name, alias, **given))


class Evaluations(Handler):
    """A page of evaluation runs."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        asked = self.query(cursor=CURSOR)
        await self.read(workspace, lambda handle: evaluations.page(handle, **asked))


class Comparison(Handler):
    """Two evaluation runs by a metric."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        run = Text(most=15, least=1, required=True)
        metric = Text(most=300, least=1, required=True)
        asked = self.query(a=run, b=run, metric=metric, slices=NAME)
        await self.read(workspace, lambda handle: evaluations.comparison(handle, **asked))


class Models(Handler):
    """The registered models, with adapters and what tuning came to."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, models.listed)


class Trainings(Handler):
    """The newest runs of fine-tuning."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, trainings.listed)


class Training(Handler):
    """One run of fine-tuning with its curves."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str, run: str) -> None:
        self.query()
        await self.read(workspace, lambda handle: trainings.training(handle, run))


class Indexes(Handler):
    """The indexes of documents with their health."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        self.query()
        await self.read(workspace, indexes.listed)


class Search(Handler):
    """Passages of an index that have words of a question."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str, index: str) -> None:
        asked = self.query(q=Text(most=2_000, least=1, required=True), k=Whole(1, 100, default=10))
        await self.read(workspace, lambda handle: indexes.search(handle, index, **asked))


class Monitor(Handler):
    """Rules, alarms, traffic, drift, costs, budgets."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        asked = self.query(since=Text(most=40, least=1, default="7d"))
        await self.read(workspace, lambda handle: monitor.monitor(handle, **asked))


class Cells(Handler):
    """The newest prompt version of each cell of a notebook."""

    @tornado.web.authenticated
    @authorized
    async def get(self, workspace: str) -> None:
        asked = self.query(notebook=Text(most=1_000, least=1, required=True))
        root = self.service.root
        await self.read(workspace, lambda handle: cells.cells(handle, root, **asked))


class Nothing(Handler):
    """Any other address below ours."""

    @tornado.web.authenticated
    @authorized
    async def get(self) -> None:
        raise UnknownNameError(
            "There is no such route. openapi.yaml beside it lists those there are."
        )

    post = put = delete = patch = get


ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    ("openapi.yaml", Document),
    ("workspaces", Workspaces),
    ("workspaces/{}/versions", Versions),
    ("workspaces/{}/status", Status),
    ("workspaces/{}/traces", Traces),
    ("workspaces/{}/traces/{}", Trace),
    ("workspaces/{}/traces/{}/scores", Scores),
    ("workspaces/{}/facets", Facets),
    ("workspaces/{}/datasets", Datasets),
    ("workspaces/{}/datasets/{}/traces", Collected),
    ("workspaces/{}/prompts", Prompts),
    ("workspaces/{}/prompts/{}", Prompt),
    ("workspaces/{}/prompts/{}/diff", Difference),
    ("workspaces/{}/prompts/{}/aliases/{}", Alias),
    ("workspaces/{}/prompts/{}/aliases/{}/rollback", Rollback),
    ("workspaces/{}/evaluations", Evaluations),
    ("workspaces/{}/comparison", Comparison),
    ("workspaces/{}/models", Models),
    ("workspaces/{}/trainings", Trainings),
    ("workspaces/{}/trainings/{}", Training),
    ("workspaces/{}/indexes", Indexes),
    ("workspaces/{}/indexes/{}/search", Search),
    ("workspaces/{}/monitor", Monitor),
    ("workspaces/{}/cells", Cells),
)


def routes(service: Service) -> list[tuple[str, type[Handler], dict[str, Any]]]:
    """Patterns with their handlers, below the server's base address."""
    given = {"service": service}
    made: list[tuple[str, type[Handler], dict[str, Any]]] = [
        (f"/{NAMESPACE}/{path.replace('.', '[.]').replace('{}', '([^/]+)')}", handler, given)
        for path, handler in ROUTES
    ]
    return [*made, (f"/{NAMESPACE}(?:/.*)?", Nothing, given)]
