"""How many replicas a bundle has on a Ray cluster, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmops_jupyter.errors import OptionError, did_you_mean

HEAD = "node:__internal_head__"
MOST = 1_000
PLACES = ("bundle", "model", "keys", "store")
COUNTS = ("replicas", "min_replicas", "max_replicas", "target_requests", "together", "body_bytes")
NUMBERS = ("cpus", "gpus", "upscale_delay_s", "downscale_delay_s")
# With one of these Ray chooses how many there are.
SPAN = ("min_replicas", "max_replicas", "target_requests", *NUMBERS[2:])
# Requests that wait for each that is written.
WAITING = 7


@dataclass(frozen=True)
class Scaling:
    """Replicas of a bundle.

    Args:
        given: folders and files on each node: ``bundle``, ``model``, ``keys``, ``store``.
        fixed: how many there always are; None has Ray choose between the next two.
        min_replicas: at least; 0 lets all go while nobody asks, and the next request waits for a start.
        max_replicas: at most.
        target_requests: requests that one is to have at once, by which their number is chosen.
        upscale_delay_s: seconds of more load before there are more.
        downscale_delay_s: seconds of less load before there are fewer.
        cpus: that one takes.
        gpus: that one takes.
        together: answers that one writes at once; further requests wait, seven times as many, and more get status 429.
        body_bytes: of a request at most.
    """

    given: Mapping[str, Any]
    fixed: int | None = 1
    min_replicas: int = 1
    max_replicas: int = 4
    target_requests: int = 4
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0
    cpus: float = 1.0
    gpus: float = 0.0
    together: int = 8
    body_bytes: int = 4 << 20

    @classmethod
    def read(cls, args: Mapping[str, Any]) -> Scaling:
        """From options.

        Raises:
            OptionError: one is not known, or has a value that cannot be used.
        """
        known = (*PLACES, *COUNTS, *NUMBERS)
        for name in args:
            if name not in known:
                raise OptionError(
                    f"A Ray application has no option {name!r:.60}.{did_you_mean(str(name), known)} Options: "
                    f"{', '.join(known)}."
                )
        values = {name: value for name, value in args.items() if value is not None}
        if not isinstance(values.get("bundle"), str) or not values["bundle"]:
            raise OptionError("bundle is the folder of a bundle on each node. Name it.")
        for name, value in values.items():
            _check(name, value)
        span = set(SPAN) & set(values)
        if "replicas" in values and span:
            raise OptionError(
                f"There are {values['replicas']} replicas or as many as the load asks for: leave out replicas or "
                f"{', '.join(sorted(span))}."
            )
        count = None if span else int(values.pop("replicas", 1))
        made = cls(
            {n: values.pop(n) for n in PLACES if n in values},
            fixed=count,
            **values,
        )
        if made.min_replicas > made.max_replicas:
            raise OptionError(
                f"min_replicas ({made.min_replicas}) is more than max_replicas ({made.max_replicas}). Change one."
            )
        return made

    @property
    def waiting(self) -> int:
        """Requests that wait in a replica, at most."""
        return WAITING * self.together

    def replicas(self) -> dict[str, Any]:
        """Arguments of Ray Serve's deployment."""
        made: dict[str, Any] = {
            "name": "replica",
            # More than it takes on, so that its own queue says 429 when it is full; Ray's would keep them waiting.
            "max_ongoing_requests": self.waiting + 2 * self.together,
            "ray_actor_options": {"num_cpus": self.cpus, "num_gpus": self.gpus},
            "health_check_period_s": 10,
            "health_check_timeout_s": 30,
            "graceful_shutdown_timeout_s": 60,
        }
        if self.fixed is not None:
            return {**made, "num_replicas": self.fixed}
        return {
            **made,
            "autoscaling_config": {
                "min_replicas": self.min_replicas,
                "max_replicas": self.max_replicas,
                "target_ongoing_requests": self.target_requests,
                "upscale_delay_s": self.upscale_delay_s,
                "downscale_delay_s": self.downscale_delay_s,
            },
        }

    def args(self) -> dict[str, Any]:
        """As options, from which `read` makes the same."""
        plain = {n: getattr(self, n) for n in (*NUMBERS[:2], "together", "body_bytes")}
        if self.fixed is not None:
            return {**self.given, **plain, "replicas": self.fixed}
        return {**self.given, **plain, **{n: getattr(self, n) for n in SPAN}}


def _check(name: str, value: Any) -> None:
    if name in PLACES:
        if not isinstance(value, str) or "\0" in value:
            raise OptionError(f"{name} is a path, not {value!r:.60}.")
        return
    least = {"min_replicas": 0, "cpus": 0, "gpus": 0}.get(name, 1 if name in COUNTS else 0)
    kinds = (int,) if name in COUNTS else (int, float)
    most = 1 << 30 if name == "body_bytes" else 86_400 if name.endswith("_s") else MOST
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        what = "a whole number" if name in COUNTS else "a number"
        raise OptionError(f"{name} is {what} from {least} to {most:,}, not {value!r:.40}.")
