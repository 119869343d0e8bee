"""The sampler of trials that were not planned ahead: TPE that never tries a combination twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from arena_learning.core import canonical

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_DRAWS = 50  # attempts at proposing a new combination; after them one is drawn at random


def unseen_sampler(distributions: Mapping[str, BaseDistribution], seed: int, startup: int) -> BaseSampler:
    """Return a sampler over all dimensions jointly.

    A trial of a combination that has been tried would give the same outcome, so it would be wasted.

    Args:
        distributions: by name.
        seed: seed of the draws; the number of trials is added to it.
        startup: trials before the sampler uses earlier results.
    """
    from optuna.samplers import RandomSampler, TPESampler

    anything = RandomSampler(seed)

    class Unseen(TPESampler):  # type: ignore[misc]  # Optuna is untyped here
        """TPE over the whole space that draws again if it proposes a known combination."""

        def infer_relative_search_space(
            self, study: Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            return dict(distributions)

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            tried = {
                canonical(t.params)
                for t in study.get_trials(deepcopy=False)
                if t.number != trial.number and t.params.keys() == search_space.keys()
            }
            for _ in range(_DRAWS):
                found: dict[str, Any] = super().sample_relative(study, trial, search_space)
                if not found:
                    break
                if canonical(found) not in tried:
                    return found
            for _ in range(_DRAWS * 20):
                drawn = {
                    name: anything.sample_independent(study, trial, name, each)
                    for name, each in search_space.items()
                }
                if canonical(drawn) not in tried:
                    break
            return drawn

    return Unseen(n_startup_trials=startup, seed=seed)
