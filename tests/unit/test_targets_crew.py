"""Actors that answer rows: each row has its answer once, whatever actor is lost, and a row that kills actors is found."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from llmops_jupyter.deploy.targets import crew
from llmops_jupyter.deploy.targets.crew import Crew
from llmops_jupyter.engine.protocol import Finished, Request
from llmops_jupyter.errors import DeployError, EngineError
from llmops_jupyter.records import Timing, Usage


class RayError(Exception):
    """As Ray has it: what a task raised is its cause."""

    def __init__(self, cause=None):
        super().__init__(str(cause))
        self.cause = cause


class LostError(RayError):
    """Of an actor that is gone."""


class Ref:
    def __init__(self, actor, work, given):
        self.actor, self.work = actor, work
        self.kills = any(getattr(one, "text", "") == "kills" for one in given)


class Method:
    def __init__(self, actor, call):
        self.actor, self.call = actor, call

    def remote(self, *given):
        self.actor.ray.running.append(Ref(self.actor, lambda: self.call(*given), given))
        now = [ref for ref in self.actor.ray.running if ref.actor is self.actor]
        self.actor.ray.most = max(self.actor.ray.most, len(now))
        return now[-1]


class Actor:
    """Answers with its number; a request whose text is `kills` takes the actor along, after those that are done."""

    def __init__(self, ray, number, fault=None):
        self.ray, self.number, self.fault, self.dead = ray, number, fault, False
        self.facts = Method(self, self._facts)
        self.answer = Method(self, self._answer)
        self.embed = Method(self, self._embed)

    def _facts(self):
        if self.fault is not None:
            raise RayError(self.fault)
        return {"provider": "fake", "context_length": 8}

    def _answer(self, request):
        if request.text == "kills":
            self.dead = True
            raise LostError
        if request.text == "fails":
            raise RayError(EngineError("it cannot"))
        return Finished(request.id, f"{self.number}", "stop", Usage(), Timing(), 0)

    def _embed(self, texts):
        return np.array([[float(len(text))] for text in texts])


class Ray:
    """As much of Ray as a crew uses; work is done in the order of a die."""

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayActorError=LostError,
        ObjectLostError=LostError,
        NodeDiedError=LostError,
        WorkerCrashedError=LostError,
    )

    def __init__(self, *faults):
        self.faults, self.actors, self.running, self.cancelled = list(faults), [], [], []
        self.most, self.done, self.die = 0, {}, random.Random(4)

    def make(self, _together):
        fault = self.faults.pop(0) if self.faults else None
        self.actors.append(Actor(self, len(self.actors), fault))
        return self.actors[-1]

    def wait(self, refs, num_returns, timeout):
        del num_returns
        ready = [ref for ref in refs if ref in self.done]
        if not ready and timeout:
            ready = [self.die.choice(refs)]
            for ref in ready:
                self._do(ref)
        # What ran on an actor that has died is lost with it.
        gone = [ref for ref in refs if ref.actor.dead and ref not in ready]
        return ready + gone, []

    def _do(self, ref):
        self.running.remove(ref)
        try:
            self.done[ref] = (ref.work(), None)
        except RayError as e:
            self.done[ref] = (None, e)

    def get(self, ref):
        result, error = self.done.get(ref, (None, LostError()))
        if error is not None:
            raise error
        if ref in self.running:
            self.running.remove(ref)
        return result

    def kill(self, actor):
        actor.dead = True

    def cancel(self, ref, recursive):
        assert recursive is False
        self.cancelled.append(ref)


def made(ray, size=2):
    found = Crew(ray, ray.make, size)
    found.facts()
    return found


def requests(*texts):
    return [Request(f"r{n}", text=text) for n, text in enumerate(texts)]


def test_each_request_is_answered_once_by_whoever_has_room():
    ray = Ray()
    found = list(made(ray).answers(requests(*["x"] * 60)))
    assert sorted(one.request_id for one in found) == sorted(f"r{n}" for n in range(60))
    assert {one.text for one in found} == {"0", "1"}
    assert ray.most <= crew.TOGETHER


def test_what_a_lost_actor_had_goes_to_others_and_a_new_one_comes():
    ray = Ray()
    rows = made(ray).answers(requests(*["x"] * 40))
    found = [next(rows) for _ in range(3)]
    ray.actors[0].dead = True
    found += rows
    assert sorted(one.request_id for one in found) == sorted(f"r{n}" for n in range(40))
    assert all(one.error is None for one in found)
    assert len(ray.actors) == 3


def test_a_row_that_kills_its_actor_is_given_up_and_takes_no_other_along():
    ray = Ray()
    # It is always done before the others.
    ray.die = SimpleNamespace(choice=lambda refs: max(refs, key=lambda ref: ref.kills))
    found = {one.request_id: one for one in made(ray, 1).answers(requests(*["x"] * 5, "kills"))}
    error = found.pop("r5").error
    assert isinstance(error, EngineError)
    assert "lost 3 times" in str(error)
    assert [one.error for one in found.values()] == [None] * 5


def test_a_row_that_fails_has_its_error_and_is_not_tried_again():
    ray = Ray()
    found = {one.request_id: one for one in made(ray).answers(requests("x", "fails"))}
    assert (found["r1"].finish_reason, str(found["r1"].error)) == ("error", "it cannot")
    assert found["r0"].error is None


def test_where_no_node_can_load_the_model_its_reason_is_told():
    with pytest.raises(DeployError, match="not on the node"):
        made(Ray(DeployError("not on the node"), DeployError("not on the node")))


def test_one_node_without_the_model_leaves_the_others():
    ray = Ray(DeployError("not on the node"))
    assert {one.text for one in made(ray).answers(requests(*["x"] * 20))} == {"1"}


def test_vectors_come_in_the_order_of_the_texts():
    words = ["a" * (n % 7 + 1) for n in range(50)]
    assert made(Ray()).embed(words)[:, 0].tolist() == [float(len(word)) for word in words]


def test_whoever_stops_cancels_what_is_under_way():
    ray = Ray()
    rows = made(ray).answers(requests(*["x"] * 30))
    next(rows)
    rows.close()
    assert len(ray.cancelled) == crew.TOGETHER - 1
    assert set(ray.cancelled) <= set(ray.running)


def test_without_an_actor_the_work_is_given_up_after_a_while(monkeypatch):
    monkeypatch.setattr(crew, "PATIENCE_S", -1.0)
    ray = Ray()
    monkeypatch.setattr(ray, "wait", lambda refs, num_returns, timeout: ([], refs))
    with pytest.raises(DeployError, match="No node of the cluster took a model"):
        made(ray)
