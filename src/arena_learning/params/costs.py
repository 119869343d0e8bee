"""Sections about costs: what hosted models cost, and where a run stops."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from arena_learning.params.section import Section

Amount = Annotated[float, Field(ge=0)]


class Price(Section):
    """What a model behind an endpoint costs, in any currency.

    Attributes:
        input: price of a million prompt tokens.
        output: price of a million generated tokens, thoughts included.
        batch: share of both prices that a request in a batch costs (``batch: true`` of an endpoint); 0.5 with most
            services, 1: no discount.
    """

    input: Amount
    output: Amount
    batch: float = Field(default=1.0, ge=0, le=1)

    def money(self, prompt: float, generated: float, *, batch: bool = False) -> float:
        """Return the price of some tokens.

        >>> Price(input=1.0, output=4.0, batch=0.5).money(500_000, 250_000, batch=True)
        0.75
        """
        return (prompt * self.input + generated * self.output) / 1e6 * (self.batch if batch else 1.0)


class Budget(Section):
    """Where a run stops, with everything kept that it has made. Nothing is set: no limit.

    While much is left, requests are counted at the mean of those before them; near the end one is only sent if its
    longest answer still fits. Training stops between two steps. The stage ends with an error that says what is missing,
    and a run with a larger budget goes on from there.

    Attributes:
        money: most money that this project's requests to endpoints may cost, in the currency of ``prices``: that of all
            runs together, as `arena show ledger` counts it. Each model behind an endpoint then needs its price.
        tokens: most tokens, prompts included, that contestants and judges may take, in all runs together. Recorded
            answers take none.
        hours: longest time of one run, which is an `arena repro`; each stage that is started otherwise is its own run.
    """

    money: Amount | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
