"""Which settings are tried next? A function of the seed and of the trials so far.

So a study that goes on after an interrupt tries the same settings as one without it. The first round is
spread evenly (Sobol). Later ones come from Optuna's tree-structured Parzen estimator (TPE). Only this file
imports Optuna. Not here: how a setting is measured (`search`).
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...checks.values import Value
from ..extras import require_extra
from .searched import Searched, SettingValues, ValueList, ValueRange
from .trials import TriedSetting

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

# Settings that are proposed at once, and decoded in the same batches. Fewer later: each round learns from the
# ones before.
FIRST_ROUND, ROUND = 8, 4
MOST_REPEATS = 30  # proposals of a setting that was tried already, one after the other
SHORTFALL = 1e9  # above the cost of any setting


def require_optuna() -> None:
    """Raise `UsageError` (E0535) where a package of the search is not installed, or cannot be imported."""
    require_extra("E0535", "tune", {"optuna": "optuna", "scipy.stats": "scipy"})


def number_of_settings(searched: Sequence[Searched]) -> int | None:
    """The number of settings that there are, None where a parameter has any number of values."""
    sizes = [one.size for one in searched]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def proposals(
    searched: Sequence[Searched], tried: Sequence[TriedSetting], first: SettingValues, seed: int, trials: int
) -> list[SettingValues]:
    """The settings of the next round; none after `trials`, and where all were tried.

    `first`: the setting that is tried first, if it is one of the search.
    """
    count = min(ROUND if tried else FIRST_ROUND, trials - len(tried))
    known = {_key(one.setting) for one in tried}
    if count <= 0:
        return []
    size = number_of_settings(searched)
    if size is not None and size <= trials:
        rest = [one for one in _grid(searched) if _key(one) not in known]
        return rest[:count]
    if not tried:
        return _spread(searched, first, seed, count)
    return _asked(searched, tried, seed, count, known)


def _grid(searched: Sequence[Searched]) -> list[SettingValues]:
    """All settings there are."""
    values = [[one.at((place + 0.5) / (one.size or 1)) for place in range(one.size or 1)] for one in searched]
    names = [one.name for one in searched]
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]


def _spread(searched: Sequence[Searched], first: SettingValues, seed: int, count: int) -> list[SettingValues]:
    """Settings spread evenly, the first one in front, each once."""
    from scipy.stats import qmc

    shares = qmc.Sobol(len(searched), scramble=True, seed=seed).random(FIRST_ROUND).tolist()
    settings = [{one.name: one.at(share) for one, share in zip(searched, row, strict=True)} for row in shares]
    if all(one.has(first[one.name]) for one in searched):
        settings.insert(0, first)
    return list({_key(one): one for one in settings}.values())[:count]


def _asked(
    searched: Sequence[Searched], tried: Sequence[TriedSetting], seed: int, count: int, known: set[str]
) -> list[SettingValues]:
    """Proposals of Optuna. Each has another seed, so that the same trials give the same proposals."""
    import optuna

    distributions = {one.name: _distribution(one) for one in searched}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: list[SettingValues] = []
    try:
        with warnings.catch_warnings():
            # Arguments of the sampler are called experimental in some versions.
            warnings.simplefilter("ignore")
            study = _study_of(searched, tried, distributions)
            for attempt in range(count * MOST_REPEATS):
                study.sampler = optuna.samplers.TPESampler(
                    seed=(seed + 1_000_003 * (len(tried) + 1) + attempt) % 2**32,
                    n_startup_trials=1, multivariate=True, constant_liar=True,
                )  # fmt: skip
                trial = study.ask(distributions)
                setting = {one.name: _value(one, trial.params[one.name]) for one in searched}
                if _key(setting) in known:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    continue
                known = known | {_key(setting)}
                found.append(setting)
                if len(found) == count:
                    break
    finally:
        optuna.logging.set_verbosity(verbosity)
    return found


def _study_of(
    searched: Sequence[Searched], tried: Sequence[TriedSetting], distributions: dict[str, BaseDistribution]
) -> Study:
    """A study in memory with the trials so far.

    The estimator compares only the order of the trials: those above the floor by their cost, then the others
    by their distance from it. So one number for each trial is enough, in every version of Optuna.
    """
    import optuna

    study = optuna.create_study(direction="minimize")
    for one in tried:
        params = {each.name: _stored(each, one.setting[each.name]) for each in searched}
        value = one.cost if one.lacks <= 0 else SHORTFALL * (1 + one.lacks)
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
    return study


def _distribution(one: Searched) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, ValueList):
        return CategoricalDistribution(tuple(range(len(one.values))))
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def _value(one: Searched, raw: int | float) -> Value:
    return one.rounded(raw) if isinstance(one, ValueRange) else one.values[int(raw)]


def _stored(one: Searched, value: Value) -> Value:
    """The form in which the study has a value: of a list its place."""
    return one.values.index(value) if isinstance(one, ValueList) else value


def _key(setting: SettingValues) -> str:
    return repr(sorted(setting.items()))
