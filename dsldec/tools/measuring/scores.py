"""What is known of a policy on some prompts: a score and costs of each prompt, and the figures of all.

Not here: how they are measured (`measurer`), the file that keeps them (`scores_file`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptScore:
    """One prompt under one policy.

    `right`: the score of the answer, from 0 to 1; `tokens`: content tokens before the end of the text;
    `seconds`: the time of decoding, divided by the rows of the batch. `error`: why there is no answer, which
    then counts as wrong.
    """

    right: float
    forwards: int
    tokens: int
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A policy on some prompts, `ids`, each with its score. An interrupted one has some of the prompts.

    `seconds`: of decoding, all prompts together. Means of costs are over the prompts with an answer.
    """

    title: str
    scores: tuple[PromptScore, ...]
    seconds: float
    ids: tuple[str | int, ...] = ()

    @property
    def accuracy(self) -> float:
        """The mean score; a prompt without an answer counts 0."""
        return sum(one.right for one in self.scores) / max(1, len(self.scores))

    @property
    def forwards(self) -> float:
        """Forwards of a prompt, on average."""
        answers = self._answers()
        return sum(one.forwards for one in answers) / max(1, len(answers))

    @property
    def tokens_per_forward(self) -> float:
        """All content tokens, divided by all forwards."""
        answers = self._answers()
        return sum(one.tokens for one in answers) / max(1, sum(one.forwards for one in answers))

    @property
    def tokens_per_second(self) -> float:
        """Content tokens a second, all rows of a batch together; 0 where no time is known."""
        return sum(one.tokens for one in self._answers()) / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """The prompts without an answer."""
        return len(self.scores) - len(self._answers())

    def _answers(self) -> list[PromptScore]:
        return [one for one in self.scores if not one.error]
