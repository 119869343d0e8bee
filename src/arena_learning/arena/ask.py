"""Ask a contestant through the store: only answers that the store lacks are generated."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from arena_learning.arena.stored_answer import (
    Contestant,
    answer_key,
    read_completion,
    stored_answer,
    to_response,
)
from arena_learning.core import ArenaError, Progress, logger
from arena_learning.engines import (
    MAX_REFUSED,
    Completion,
    DrawsSamples,
    Engine,
    Refused,
    is_exact,
    older_fingerprints,
    stream_answers,
    too_many_refused,
)
from arena_learning.schema import Instruction, Response
from arena_learning.store import (
    Longest,
    Requests,
    Spent,
    Store,
    lease_work,
    longest_request,
    within_budget,
)

_SHOWN = 5  # refused instructions named in an error


class ContestantAnswers(NamedTuple):
    """A contestant's responses in the instructions' order, the number of new ones, and the total cost of all."""

    responses: list[Response]
    generated: int
    seconds: float
    tokens: int


def ask_contestant_for(
    contestant: Contestant,
    instructions: Sequence[Instruction],
    store: Store,
    *,
    max_refused: float = MAX_REFUSED,
    retry: bool = False,
) -> ContestantAnswers:
    """Return the contestant's answer to every instruction.

    Each answer is stored as soon as the engine returns it. Answers that another process is generating are awaited.
    Batches are planned over all instructions before the store is read. Where an engine's greedy answer depends on its
    batch, a batch is generated whole or not at all, so a resumed run gives the same answers as an uninterrupted one.
    The same holds for sampled answers where the engine draws them by the batch (`engines.is_exact`).

    Args:
        contestant: the model to ask.
        instructions: the conversations to answer.
        store: holds the answers, and the refusals of a run that finished.
        max_refused: the share of the instructions that may be refused (`serving.max_refused`); a few always may.
        retry: ask again for what was refused in an earlier run.

    Raises:
        ArenaError: the engine cannot answer, or too many instructions are refused; the answers so far stay stored.
        Ended: another contestant that is asked at the same time has failed (`store.Together`).

    Example:
        asked = ask_contestant_for(Contestant("base", engine, Sampling()), instructions, store)
        print(asked.responses[0].text, asked.generated)
    """
    return ask_group([contestant], instructions, store, max_refused=max_refused, retry=retry)[0]


def ask_group(
    group: Sequence[Contestant],
    instructions: Sequence[Instruction],
    store: Store,
    *,
    max_refused: float = MAX_REFUSED,
    retry: bool = False,
) -> list[ContestantAnswers]:
    """Return the answers of one contestant, or of samples that its engine draws together (`engines.DrawsSamples`).

    Args:
        group: one contestant, or several that differ in ``sample`` and in the seed of their sampling alone.
        instructions: see `ask_contestant_for`, as the other arguments.
        store: holds the answers.
        max_refused: the share that may be refused.
        retry: ask again for what was refused in an earlier run.

    Raises:
        ArenaError: see `ask_contestant_for`.
        Ended: see `ask_contestant_for`.
    """
    distinct: dict[bytes, tuple[Contestant, Instruction]] = {}
    keys = [[answer_key(one, instruction) for one in group] for instruction in instructions]
    for row, instruction in zip(keys, instructions, strict=True):
        for key, one in zip(row, group, strict=True):
            distinct.setdefault(key, (one, instruction))
    _prepare(group[0].engine, distinct, store, retry=retry)
    asking = _Asking(group, distinct, store, max_refused)
    asking.ask()
    logger.debug(f"{asking.label}: {len(asking.new)} of {len(distinct)} generated, the others remembered")
    return [_collected(one, instructions, [row[n] for row in keys], asking) for n, one in enumerate(group)]


def _collected(
    contestant: Contestant, instructions: Sequence[Instruction], keys: Sequence[bytes], asking: _Asking
) -> ContestantAnswers:
    given = [asking.known[key] for key in keys]
    completions = [answer for answer in given if isinstance(answer, Completion)]
    return ContestantAnswers(
        [to_response(contestant, i, a) for i, a in zip(instructions, given, strict=True)],
        generated=len(asking.new & set(keys)),
        seconds=sum(c.seconds for c in completions),
        tokens=sum(c.completion_tokens for c in completions),
    )


def _prepare(
    engine: Engine, distinct: Mapping[bytes, tuple[Contestant, Instruction]], store: Store, *, retry: bool
) -> None:
    """Copy answers stored under earlier keys; forget refusals if they are to be asked again."""
    for fingerprint in older_fingerprints(engine):
        store.adopt({key: answer_key(one, asked, fingerprint) for key, (one, asked) in distinct.items()})
    if retry:
        store.forget([key for key, value in store.get(list(distinct)).items() if "refused" in value])


class _Asking:
    """Asks a contestant; holds what is known so far.

    Args:
        group: the model to ask, or its samples that are drawn together.
        distinct: what each is asked, by the store's keys; all samples of an instruction stand side by side.
        store: holds the answers.
        most: the share that may be refused.

    Attributes:
        known: the answer or refusal of each key.
        new: the keys whose answers were generated.
        label: what its progress line calls it.
    """

    def __init__(
        self,
        group: Sequence[Contestant],
        distinct: Mapping[bytes, tuple[Contestant, Instruction]],
        store: Store,
        most: float,
    ) -> None:
        self.known: dict[bytes, Completion | Refused] = {}
        self.new: set[bytes] = set()
        self._contestant, self._distinct, self._store, self._most = group[0], distinct, store, most
        self._seeds = [one.sampling.seed for one in group]
        several = len(group) > 1
        self.label = f"{group[0].name}, {len(group)} samples" if several else group[0].label
        self._unit = "samples" if several else "instructions"
        # A batch holds all samples of an instruction.
        self._batch = max(1, group[0].engine.batch_size // len(group)) * len(group)
        self._payer = store.account.payer(group[0].role, group[0].name)
        self._refused: dict[bytes, Refused] = {}

    def ask(self) -> None:
        """Ask for all that the store lacks.

        Raises:
            ArenaError: the engine cannot answer, too much is refused, or the budget is used up.
        """
        engine, sampling = self._contestant.engine, self._contestant.sampling
        whole = not is_exact(engine, sampling)
        with Progress(f"answer ({self.label})", len(self._distinct), self._unit) as progress:
            requests = self._requests(progress, whole)
            for share in lease_work(
                self._store,
                list(self._distinct),
                self._batch,
                whole=whole,
                waiting=lambda count: progress.advance(0, f"waiting for {count} of another process"),
            ):
                self._note({key: read_completion(value, engine) for key, value in share.known.items()})
                progress.total -= len(share.known)
                for mine in within_budget(self._store, share.mine, requests):
                    for group in self._answers(mine):
                        self._take(group, progress)
        # Refusals are stored only now: a run that stops for them has a fault to be fixed, and then all are asked again.
        lasting = {key: one.reason for key, one in self._refused.items() if not one.passing}
        self._store.put("response", {key: {"refused": reason} for key, reason in lasting.items()})

    def _answers(self, keys: Sequence[bytes]) -> Iterator[dict[bytes, Completion | Refused]]:
        """Yield the engine's answers in groups. Where samples are drawn together, ``keys`` are whole batches."""
        engine, sampling, count = self._contestant.engine, self._contestant.sampling, len(self._seeds)
        turns = [self._distinct[key][1].turns for key in keys[::count]]
        if count == 1:
            for group in stream_answers(engine, turns, sampling):
                yield {keys[n]: answer for n, answer in group}
            return
        assert isinstance(engine, DrawsSamples)  # or they would not be asked together
        drawn = engine.draw(turns, sampling, self._seeds)
        each = ([one] * count if isinstance(one, Refused) else one for one in drawn)
        yield dict(zip(keys, chain.from_iterable(each), strict=True))

    def _requests(self, progress: Progress, whole: bool) -> Requests:
        return Requests(
            self._payer,
            self._batch,
            whole,
            longest=lambda key: _longest(*self._distinct[key]),
            missing=lambda: f"{progress.total - progress.done} answers of '{self.label}'",
        )

    def _note(self, given: Mapping[bytes, Completion | Refused]) -> None:
        self.known |= given
        self._refused |= {key: answer for key, answer in given.items() if isinstance(answer, Refused)}

    def _take(self, given: Mapping[bytes, Completion | Refused], progress: Progress) -> None:
        """Store new answers; raise if too much is refused."""
        new = {key: stored_answer(answer) for key, answer in given.items() if isinstance(answer, Completion)}
        self._store.put("response", new, payer=self._payer, spent=_spent(given.values()))
        self._store.account.together.check(self._store)
        self._note(given)
        self.new.update(given)
        progress.advance(len(given))
        if too_many_refused(len(self._refused), len(self._distinct), self._most):
            reasons = {self._distinct[key][1].id: one.reason for key, one in self._refused.items()}
            answered = len(self.known) - len(self._refused)
            raise _refusal(self._contestant.name, reasons, len(self._distinct), answered)


_SOME = (
    "see what the refused instructions have in common; all other answers are kept. To go on without these, raise "
    "serving.max_refused"
)
_EACH = (
    "all for one reason: put that right and run again. Behind an endpoint, check base_url (most end in /v1) and model; "
    "a field of the request that it does not know can be left out with `omit`"
)


def _longest(contestant: Contestant, instruction: Instruction) -> Longest:
    texts = [contestant.engine.fingerprint.get("system", ""), *(turn.content for turn in instruction.turns)]
    return longest_request(sum(len(text.encode()) for text in texts), contestant.sampling.max_tokens)


def _spent(answers: Collection[Completion | Refused]) -> Spent:
    completions = [answer for answer in answers if isinstance(answer, Completion)]
    prompts = sum(c.prompt_tokens for c in completions)
    return Spent(
        made=len(completions),
        requests=len(answers),
        tokens=prompts + sum(c.completion_tokens for c in completions),
        prompt_tokens=prompts,
        seconds=sum(c.seconds for c in completions),
    )


def _refusal(name: str, reasons: Mapping[str, str], total: int, answered: int) -> ArenaError:
    alike = not answered and len(reasons) > 1 and len(set(reasons.values())) == 1
    some = "; ".join(f"'{i}': {reason}" for i, reason in sorted(reasons.items())[:_SHOWN])
    return ArenaError(
        f"'{name}' refuses {len(reasons)} of {total} instructions ({some})",
        hint=_EACH if alike else _SOME,
    )
