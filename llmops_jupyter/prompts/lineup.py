"""Up to four variants of a prompt side by side, which come from its versions and become versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_jupyter.errors import OptionError, UnknownNameError
from llmops_jupyter.prompts.candidates import KEYS, Candidate, from_defaults, read_settings
from llmops_jupyter.prompts.registry import PromptVersion
from llmops_jupyter.records import Sampling
from llmops_jupyter.store import aliases

if TYPE_CHECKING:
    from llmops_jupyter.prompts.stage import Prompts


class Lineup:
    """Candidates for a prompt.

    Args:
        prompts: the stage of a workspace.
        name: of the prompt, or a version of it, which is the first candidate; None for a prompt that has no name yet.

    Raises:
        UnknownNameError: there is no such version. A name without versions is one that gets its first here.
    """

    def __init__(self, prompts: Prompts, name: str | None = None) -> None:
        self.prompts = prompts
        self.candidates: list[Candidate] = []
        self.name = _name_of(prompts, name)
        self._place = prompts.tracer.place()
        self.add(name if self.name and prompts.exists(self.name) else None)

    def candidate(self, key: str) -> Candidate:
        """The candidate with this letter.

        Raises:
            UnknownNameError: there is none.
        """
        for candidate in self.candidates:
            if candidate.key == key:
                return candidate
        known = ", ".join(c.key for c in self.candidates)
        raise UnknownNameError(f"There is no variant {key!r} here any more. There are: {known}.")

    def add(self, reference: str | None = None) -> Candidate:
        """One more candidate: a version, or else a copy of the last one.

        Raises:
            OptionError: there are four already.
        """
        free = [key for key in KEYS if key not in {c.key for c in self.candidates}]
        if not free:
            raise OptionError(f"{len(KEYS)} variants fit beside each other. Remove one first.")
        if reference:
            made = self._from_version(free[0], reference)
        elif self.candidates:
            made = replace(self.candidates[-1], key=free[0])
        else:
            made = Candidate(free[0])
        self.candidates.append(made)
        self.candidates.sort(key=lambda c: c.key)
        return made

    def load(self, key: str, reference: str) -> Candidate:
        """Put a version in the place of a candidate."""
        self.candidate(key)
        return self._put(self._from_version(key, reference))

    def remove(self, key: str) -> None:
        """Take a candidate away; one stays."""
        found = self.candidate(key)
        if len(self.candidates) == 1:
            raise OptionError("One variant stays. Change its text, or load another version.")
        self.candidates.remove(found)

    def change(
        self, key: str, template: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> Candidate:
        """Give a candidate another text or other settings, those as `prompts.stream` takes them."""
        made = self.candidate(key)
        if template is not None:
            made = replace(made, template=template)
        return self._put(made if settings is None else made.with_settings(settings))

    def write(self, key: str, template: str, settings: Mapping[str, str]) -> Candidate:
        """The same from the texts of a form; where a setting cannot be read, the text is kept all the same."""
        self.change(key, template)
        return self.change(key, settings=read_settings(settings))

    def names(self) -> tuple[str, ...]:
        """The variables of all templates that can be parsed, in the order in which they come up."""
        found: dict[str, None] = {}
        for candidate in self.candidates:
            if not candidate.problem():
                found.update(dict.fromkeys(candidate.names()))
        return tuple(found)

    def version_of(self, key: str) -> PromptVersion | None:
        """The version that a candidate's content is, if it is one."""
        return self._known(self.candidate(key))

    def save(self, key: str, note: str = "", name: str = "") -> PromptVersion:
        """Keep a candidate as a version of the playground's prompt, or of `name` if it has none yet."""
        candidate = self.candidate(key)
        if not (self.name or name):
            raise OptionError("Give the prompt a name, such as support-reply.")
        place = self._place
        kept = self.prompts.save(
            self.name or name,
            candidate.content,
            note=note,
            notebook=place.notebook,
            cell_id=place.cell_id,
        )
        self.name = kept.name
        self._put(replace(candidate, source=kept.ref))
        return kept

    def target(self, alias: str) -> int | None:
        """The version that an alias of the prompt points at; None if there is no such alias."""
        known = aliases.all_aliases(self.prompts.store.read(), "prompt", self.name)
        return known.get(alias)

    def point(self, key: str, alias: str, seen: int | None, note: str = "") -> PromptVersion:
        """Point an alias at the version that a candidate is.

        Args:
            key: of the candidate.
            alias: such as production.
            seen: the version that it pointed at when somebody agreed to this.
            note: why.

        Raises:
            OptionError: the candidate is no version, or the alias was moved meanwhile.
        """
        found = self.version_of(key)
        if found is None:
            raise OptionError(f"Variant {key} is no version yet. Save it first.")
        now = self.target(aliases.check_alias(alias))
        if now != seen:
            where = "is gone" if now is None else f"points at version {now} now"
            raise OptionError(f"{found.name}@{alias} {where}. Look again before you move it.")
        return self.prompts.alias(found.ref, alias, note)

    def _from_version(self, key: str, reference: str) -> Candidate:
        found = self.prompts.get(reference)
        settings = self.prompts.settings()
        usual = {**vars(Sampling()), **vars(settings)}
        return Candidate(
            key,
            found.template.rstrip("\n"),
            from_defaults(found.defaults, usual),
            found.ref,
            replace(found.content, template=""),
        )

    def _put(self, candidate: Candidate) -> Candidate:
        self.candidates = [candidate if c.key == candidate.key else c for c in self.candidates]
        return candidate

    def _known(self, candidate: Candidate) -> PromptVersion | None:
        if not self.name or candidate.problem():
            return None
        return self.prompts.equal(self.name, candidate.content)


def _name_of(prompts: Prompts, reference: str | None) -> str:
    """The name in a reference; one that no prompt has may be that of a new one."""
    if not reference:
        return ""
    name, selector = aliases.parse_reference(reference)
    if selector is None and not prompts.exists(name):
        return aliases.check_name("prompt", name)
    return prompts.get(reference).name
