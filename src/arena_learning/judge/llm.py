"""A language model as the judge, behind any engine (paper, section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from arena_learning.engines.base import Engine, Sampling
from arena_learning.judge.base import Presentation, Verdict
from arena_learning.judge.parse import read_scores
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
    """

    def __init__(
        self, model: str, engine: Engine, template: JudgeTemplate, sampling: Sampling, attempts: int
    ) -> None:
        self._engine, self._template, self._sampling, self._attempts = engine, template, sampling, attempts
        self.batch_size = engine.batch_size
        self.fingerprint = {
            **engine.fingerprint,
            "judge": f"llm {template.name}@{template.digest}",
            "sampling": sampling.model_dump_json(),
            "attempts": str(attempts),
        }
        # Two models (or two samplings) with one template are two judges, and their games stand in one file.
        whole = hashlib.sha256(canonical(self.fingerprint).encode()).hexdigest()
        self.label = f"llm {model} {template.name}@{template.digest} {whole[:8]}"

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation; malformed verdicts are asked again, then unscored with the last reason."""
        prompts = [[Turn(role="user", content=self._template.render(p))] for p in presentations]
        verdicts = [Verdict(None, None, "", unscored="not asked", attempts=0) for _ in presentations]
        open_ones = list(range(len(prompts)))
        for attempt in range(1, self._attempts + 1):
            if not open_ones:
                break
            sampling = self._sampling if attempt == 1 else self._again(attempt)
            completions = self._engine.respond([prompts[i] for i in open_ones], sampling)
            for i, completion in zip(open_ones, completions, strict=True):
                a, b, problem = read_scores(completion.text)
                spent = completion.prompt_tokens + completion.completion_tokens
                verdicts[i] = Verdict(
                    a,
                    b,
                    completion.text.strip(),
                    unscored=problem,
                    attempts=attempt,
                    tokens=verdicts[i].tokens + spent,
                    seconds=verdicts[i].seconds + completion.seconds,
                )
            open_ones = [i for i in open_ones if verdicts[i].unscored is not None]
        return verdicts

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _again(self, attempt: int) -> Sampling:
        temperature = max(self._sampling.temperature, _RETRY_TEMPERATURE)
        return self._sampling.model_copy(
            update={"temperature": temperature, "seed": self._sampling.seed + attempt - 1}
        )
