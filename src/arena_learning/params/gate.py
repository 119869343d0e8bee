"""The section `gate`: what a round's model must show before it becomes the champion."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from arena_learning.params.section import NONE, Name, Section

Share = Annotated[float, Field(ge=0, le=1)]


class ExternalScores(Section):
    """Scores of an evaluation harness that must not fall.

    Attributes:
        file: path of a JSON file for each model, with ``{model}`` for its name (``evals/{model}.json``); empty: none. A
            file is what lm-evaluation-harness writes (``results`` by task), or a map of names to numbers.
        tolerance: how far a score may fall below the champion's.
        tolerances: other tolerances by task, or by task and metric (``gsm8k``, ``gsm8k/exact_match``).
    """

    file: str = ""
    tolerance: float = Field(default=0.01, ge=0)
    tolerances: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_the_model(self) -> ExternalScores:
        if self.file and "{model}" not in self.file:
            raise ValueError(
                "'file' needs {model} in its path, such as evals/{model}.json: both models have one"
            )
        return self


class Gate(Section):
    """What `arena promote` demands of a round's model before it becomes the champion.

    The model is compared with the champion, or with the base where there is none. Shares are from 0 to 1.

    Attributes:
        name: the registered model in MLflow; projects that share a server need different names.
        judge: a judge of ``evaluate.judges`` that chose no data and gave no reward; the lower end of the Elo difference
            under it must be above 0. ``none``: the first one whose word is independent.
        length_growth: most mean words of a test answer, as a multiple of the champion's.
        cut_off_rise: most rise of the share of test answers that were cut off.
        repetition_rise: most rise of the mean repetition of test answers.
        refusal_rise: most rise of the share of test instructions that were refused.
        agreement_fall: most fall of another judge's agreement with the first one on the model's test battles.
        capability_fall: most fall of the share of met criteria about numbers and formats in the test set's rubrics.
        external: scores of an evaluation harness.
    """

    name: Name = "arena-learning"
    judge: Name = NONE
    length_growth: float = Field(default=1.3, ge=1)
    cut_off_rise: Share = 0.05
    repetition_rise: Share = 0.05
    refusal_rise: Share = 0.02
    agreement_fall: Share = 0.1
    capability_fall: Share = 0.05
    external: ExternalScores = ExternalScores()
