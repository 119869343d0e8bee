"""A language model as the judge, behind any engine (paper, section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from arena_learning.engines.base import (
    Completion,
    Conversation,
    Engine,
    Refused,
    Sampling,
    Weighing,
    answers,
)
from arena_learning.errors import ArenaError
from arena_learning.judge.base import Presentation, Scored, Verdict
from arena_learning.judge.expected import LIKELY, VERSION, expected_scores
from arena_learning.judge.parse import Scores
from arena_learning.judge.template import JudgeTemplate
from arena_learning.rows import Turn, canonical

# Greedy decoding repeats a malformed verdict word for word: a retry samples.
_RETRY_TEMPERATURE = 0.7


class LlmJudge:
    """Asks an engine for two scores and an explanation.

    Args:
        model: the model's name, for the label of its games.
        engine: answers the judge's prompts.
        template: the prompt.
        sampling: of the first attempt; later ones sample with other seeds.
        attempts: how often a malformed verdict is asked again before it is unscored.
        by_category: the prompt of instructions of a category, where it is another one.
        expected: a score is the expected value over the score's tokens, not the number that was said.

    Raises:
        ArenaError: expected values are asked of an engine that tells no probabilities.
    """

    def __init__(
        self,
        model: str,
        engine: Engine,
        template: JudgeTemplate,
        sampling: Sampling,
        attempts: int,
        by_category: Mapping[str, JudgeTemplate] | None = None,
        *,
        expected: bool = False,
    ) -> None:
        if expected and not isinstance(engine, Weighing):
            raise ArenaError(
                f"the engine '{engine.fingerprint['engine']}' tells no probabilities of tokens",
                where="judges, scores: expected",
                mend="use transformers, vllm, or an endpoint that gives logprobs; or scores: text",
            )
        self._likely = LIKELY if expected else 0
        self._engine, self._template, self._sampling, self._attempts = engine, template, sampling, attempts
        self._by_category = dict(by_category or {})
        self.batch_size, self.batch_exact = engine.batch_size, engine.batch_exact
        self.fingerprint = {
            **engine.fingerprint,
            "judge": f"llm {template.name}@{template.digest}",
            "sampling": sampling.model_dump_json(),
            "attempts": str(attempts),
        }
        names = [f"{template.name}@{template.digest}"]
        if self._by_category:
            others = {category: f"{t.name}@{t.digest}" for category, t in self._by_category.items()}
            self.fingerprint["templates"] = canonical(others)
            names += [f"{category}={name}" for category, name in sorted(others.items())]
        if expected:
            self.fingerprint["scores"] = f"expected v{VERSION}"
            names.append("expected")
        # Two models (or two samplings) with one template are two judges, and their games stand in one file.
        whole = hashlib.sha256(canonical(self.fingerprint).encode()).hexdigest()
        self.label = f"llm {model} {' '.join(names)} {whole[:8]}"

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation; malformed verdicts are asked again, then unscored with the last reason."""
        found = {place: verdict for group in self.stream(presentations) for place, verdict in group}
        return [found[place] for place in range(len(presentations))]

    def stream(self, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
        """Yield verdicts as the engine gives them; see `base.StreamingJudge`."""
        spent: dict[int, Verdict] = {}
        places: Sequence[int] = range(len(presentations))
        for attempt in range(1, self._attempts + 1):
            if not places:
                return
            last = attempt == self._attempts
            sampling = self._sampling if attempt == 1 else self._again(attempt)
            malformed: list[int] = []
            for group in answers(
                self._engine, _Prompts(self, presentations, places), sampling, likely=self._likely
            ):
                final: list[Scored] = []
                for number, answer in group:
                    place = places[number]
                    verdict = self._read(presentations[place], answer, attempt, spent.pop(place, None))
                    if verdict.unscored is None or last or isinstance(answer, Refused):
                        final.append((place, verdict))
                    else:
                        spent[place] = verdict._replace(rationale="")
                        malformed.append(place)
                if final:
                    yield final
            places = sorted(malformed)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def prompt(self, presentation: Presentation) -> Conversation:
        """Return what the engine is asked."""
        return [Turn(role="user", content=self._template_for(presentation).render(presentation))]

    def _template_for(self, presentation: Presentation) -> JudgeTemplate:
        return self._by_category.get(presentation.instruction.category, self._template)

    def _read(
        self, presentation: Presentation, answer: Completion | Refused, attempt: int, before: Verdict | None
    ) -> Verdict:
        """Return the verdict in an answer, with what earlier attempts cost."""
        tokens, seconds = (before.tokens, before.seconds) if before else (0, 0.0)
        if isinstance(answer, Refused):
            return Verdict(
                None, None, "", f"the judge was refused: {answer.reason}", attempt, tokens, seconds
            )
        a, b, problem = self._scores(presentation, answer)
        return Verdict(
            a,
            b,
            answer.text.strip(),
            unscored=problem,
            attempts=attempt,
            tokens=tokens + answer.prompt_tokens + answer.completion_tokens,
            seconds=seconds + answer.seconds,
        )

    def _scores(self, presentation: Presentation, answer: Completion) -> Scores:
        template, cut_off = self._template_for(presentation), answer.finish_reason == "length"
        if not self._likely:
            return template.read(answer.text, cut_off=cut_off)
        said = "".join(token.text for token in answer.tokens) or answer.text
        return expected_scores(answer.tokens, template.find(said, cut_off=cut_off))

    def _again(self, attempt: int) -> Sampling:
        temperature = max(self._sampling.temperature, _RETRY_TEMPERATURE)
        return self._sampling.model_copy(
            update={"temperature": temperature, "seed": self._sampling.seed + attempt - 1}
        )


class _Prompts(Sequence[Conversation]):
    """The prompts of some presentations, each rendered when its turn comes: a million would not fit in memory."""

    def __init__(self, judge: LlmJudge, presentations: Sequence[Presentation], places: Sequence[int]) -> None:
        self._judge, self._presentations, self._places = judge, presentations, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Conversation: ...

    @overload
    def __getitem__(self, number: slice) -> list[Conversation]: ...

    def __getitem__(self, number: int | slice) -> Conversation | list[Conversation]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return self._judge.prompt(self._presentations[self._places[number]])
