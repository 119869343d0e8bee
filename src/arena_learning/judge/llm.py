"""A language model as the judge, behind any engine (paper, section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from arena_learning.core import ArenaError, canonical
from arena_learning.engines import (
    Completion,
    Conversation,
    Engine,
    Refused,
    ReportsLogprobs,
    Versioned,
    is_exact,
    older_fingerprints,
    stream_answers,
)
from arena_learning.judge.base import Presentation, Scored, Verdict
from arena_learning.judge.expected import TOP_LOGPROBS, VERSION, expected_scores
from arena_learning.judge.parse import PARSER_VERSION, Found, Scores
from arena_learning.judge.template import JudgeTemplate, break_marks
from arena_learning.judge.verdict_text import split_verdict
from arena_learning.params import Sampling
from arena_learning.schema import Turn

# Greedy decoding would repeat a malformed verdict word for word, so a retry samples.
_RETRY_TEMPERATURE = 0.7


class LlmJudge:
    """Asks a language model for two scores and an explanation.

    Args:
        model: the model's name; part of the games' label.
        engine: generates the replies.
        template: the prompt.
        sampling: sampling of the first attempt; retries use other seeds and a temperature above 0.
        attempts: the most attempts for a well-formed verdict; after them the game is unscored.
        by_category: other prompts for some categories of instructions.
        expected: use the expected value over the score's tokens instead of the written number.
        name: the judge's name in params.yaml, for messages.

    Attributes:
        parser_version: version of the parser. It is in no key: `reread` reads stored replies again when it changes. A
            judge by expected scores has none, because probabilities are not stored: its verdicts stay as they are.

    Raises:
        ArenaError: expected values are requested of an engine without log-probabilities.
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
        name: str = "NAME",
    ) -> None:
        if expected and not isinstance(engine, ReportsLogprobs):
            raise ArenaError(
                f"the engine '{engine.fingerprint['engine']}' returns no log-probabilities",
                where="judges, scores: expected",
                hint="use transformers, vllm, or an endpoint that returns logprobs; or set scores: text",
            )
        self._likely = TOP_LOGPROBS if expected else 0
        # A greedy reply does not depend on the seed, and a retry sets its own seed: the key holds none.
        given, sampling = (
            sampling,
            sampling if sampling.temperature else sampling.model_copy(update={"seed": 0}),
        )
        self._engine, self._template, self._sampling, self._attempts = engine, template, sampling, attempts
        self._by_category = dict(by_category or {})
        self._name = name
        if not expected:
            self.parser_version = PARSER_VERSION
        self.batch_size, self.batch_exact = engine.batch_size, is_exact(engine, sampling)
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
        seeded = {**self.fingerprint, "sampling": given.model_dump_json()}
        own = {key: value for key, value in self.fingerprint.items() if key not in engine.fingerprint}
        before = [
            {**older, **own, "sampling": one.model_dump_json()}
            for older in (engine.fingerprint, *older_fingerprints(engine))
            for one in dict.fromkeys((sampling, given))
        ]
        self.older_fingerprints = [one for one in before if one != self.fingerprint]
        # Two models (or samplings) with one template are two judges, and their games share a file, so the label ends
        # in a hash. The hash includes the seed, as it did when the seed was in the key: old labels stay valid.
        whole = hashlib.sha256(canonical(seeded).encode()).hexdigest()
        self.label = f"llm {model} {' '.join(names)} {whole[:8]}"

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation; a malformed verdict is retried, then unscored with the last reason."""
        found = {place: verdict for group in self.stream(presentations) for place, verdict in group}
        return [found[place] for place in range(len(presentations))]

    def stream(self, presentations: Sequence[Presentation]) -> Iterator[list[Scored]]:
        """Yield verdicts as the engine returns replies; see `base.StreamingJudge`."""
        spent: dict[int, Verdict] = {}
        places: Sequence[int] = range(len(presentations))
        for attempt in range(1, self._attempts + 1):
            if not places:
                return
            last = attempt == self._attempts
            sampling = sampling_of_attempt(self._sampling, attempt)
            malformed: list[int] = []
            for group in stream_answers(
                self._engine, _Prompts(self, presentations, places), sampling, top_logprobs=self._likely
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

    def variant(self, presentation: Presentation) -> str:
        """Return ``2`` where the prompt breaks thought marks that earlier versions left; see `base.VersionedJudge`.

        Otherwise the engine's own variant.
        """
        instruction, first, second = presentation
        shown = [*instruction.turns, *(Turn(role="assistant", content=r.text) for r in (first, second))]
        if instruction.reference:
            shown.append(Turn(role="assistant", content=instruction.reference))
        if any(break_marks(turn.content) != turn.content for turn in shown):
            return "2"
        return self._engine.variant(shown) if isinstance(self._engine, Versioned) else ""

    def prompt(self, presentation: Presentation) -> Conversation:
        """Return the conversation that the engine is given."""
        return [Turn(role="user", content=self._template_for(presentation).render(presentation))]

    def longest(self, presentation: Presentation) -> tuple[int, int]:
        """Return the bytes and tokens that all attempts may take; see `base.CostlyJudge`."""
        prompt = sum(len(turn.content.encode()) for turn in self.prompt(presentation))
        return self._attempts * prompt, self._attempts * self._sampling.max_tokens

    def _template_for(self, presentation: Presentation) -> JudgeTemplate:
        return self._by_category.get(presentation.instruction.category, self._template)

    def reread(self, presentation: Presentation, replies: Sequence[tuple[str, str]]) -> Verdict:
        """Read the verdict in stored replies, as `stream` would: the first attempt with scores, else the last attempt.

        No model is asked, so tokens and seconds are 0. Expected scores cannot be read again: they are unscored.

        Args:
            presentation: what was judged; its category selects the template.
            replies: (text, finish reason) of each attempt, as in `Verdict.replies`.
        """
        kept = tuple((text, reason) for text, reason in replies)
        verdict = Verdict(None, None, "", "no reply is remembered")
        for attempt, (text, reason) in enumerate(kept, 1):
            found = self._find(presentation, text, reason)
            scores = expected_scores((), found) if self._likely else found.scores
            verdict = Verdict(scores.a, scores.b, _rationale(text, reason), scores.problem, attempt)
            if scores.problem is None:
                break
        return verdict._replace(replies=kept)

    def _read(
        self, presentation: Presentation, answer: Completion | Refused, attempt: int, before: Verdict | None
    ) -> Verdict:
        """Return the verdict in an answer, with the cost and replies of earlier attempts added."""
        start = Verdict(None, None, "", attempts=attempt, prompt_tokens=0)
        before = before._replace(attempts=attempt) if before else start
        if isinstance(answer, Refused):
            why = f"the judge was refused: {answer.reason}"
            return before._replace(
                score_first=None,
                score_second=None,
                rationale="",
                unscored=why,
                refused=True,
                passing=answer.passing,
            )
        text = _whole(answer)
        found = self._find(presentation, text, answer.finish_reason)
        scores = found.scores
        if self._likely:
            scores = expected_scores(answer.tokens, self._placed(presentation, found, text, answer))
        return Verdict(
            scores.a,
            scores.b,
            _rationale(text, answer.finish_reason),
            unscored=scores.problem,
            attempts=attempt,
            tokens=before.tokens + answer.prompt_tokens + answer.completion_tokens,
            prompt_tokens=(before.prompt_tokens or 0) + answer.prompt_tokens,
            seconds=before.seconds + answer.seconds,
            replies=(*before.replies, (text, answer.finish_reason)),
        )

    def _find(self, presentation: Presentation, text: str, finish_reason: str) -> Found:
        """Return the verdict in a reply; if it was cut off before its verdict, the reason names the limit to raise."""
        cut_off = finish_reason == "length"
        found = self._template_for(presentation).find(text, cut_off=cut_off)
        why = found.scores.problem
        if why is None or found.complete or not cut_off:
            return found
        if not why.startswith("cut off"):
            why = f"cut off before the verdict ({why})"
        more = f"raise judges.{self._name}.max_tokens ({self._sampling.max_tokens})"
        return found._replace(scores=Scores(None, None, f"{why}: {more}"))

    def _placed(self, presentation: Presentation, found: Found, text: str, answer: Completion) -> Found:
        """Return ``found`` with its places moved from ``text`` to the joined texts of the answer's tokens."""
        if found.places is None or not answer.tokens:
            return found
        joined = "".join(token.text for token in answer.tokens)
        verdict = _rationale(text, answer.finish_reason)
        if verdict in joined:
            shift = joined.rfind(verdict) - text.rfind(verdict)
            return found._replace(places=(found.places[0] + shift, found.places[1] + shift))
        # A character made of several tokens is complete only after the engine joins them.
        there = self._template_for(presentation).find(joined)
        if there.scores != found.scores:
            return found._replace(scores=Scores(None, None, "the tokens that were told are not the reply's"))
        return there


def sampling_of_attempt(first: Sampling, attempt: int) -> Sampling:
    """Return how an attempt samples, from 1: the ``first`` as it is, each further one by its own seed, not greedily."""
    if attempt == 1:
        return first
    temperature = max(first.temperature, _RETRY_TEMPERATURE)
    return first.model_copy(update={"temperature": temperature, "seed": first.seed + attempt - 1})


def _whole(answer: Completion) -> str:
    """Return a reply as the model wrote it: its thought, if the engine separated it, in marks before the text.

    Marks inside such a thought are broken: the engine knows real marks by token, so these are only text.
    """
    if not answer.thought:
        return answer.text
    thought = break_marks(answer.thought)
    if not answer.text and answer.finish_reason == "length":
        return f"<think>\n{thought}"
    return f"<think>\n{thought}\n</think>\n\n{answer.text}"


def _rationale(text: str, finish_reason: str) -> str:
    return split_verdict(text, cut_off=finish_reason == "length").text.strip()


class _Prompts(Sequence[Conversation]):
    """The prompts of some presentations, each rendered on access: a million of them would not fit in memory."""

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
