"""How `kdbench tune` searches for settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from benchmark.study.schema.base import Count, Seed, Strict


def _check_equal_trials(value: Any) -> Any:
    """Accept a mapping of methods to numbers of trials if all the numbers are equal."""
    if not isinstance(value, dict) or not value:
        return value

    counts = sorted({str(count) for count in value.values()}, key=len)
    if len(counts) > 1:
        problem = f"gives methods different numbers of trials ({', '.join(counts)})"
        raise ValueError(f"{problem}; a fair comparison needs one number for all")
    return next(iter(value.values()))


Range = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
"""Lowest and highest value."""


class Search(Strict):
    """A search for settings, the same for every method, on validation images only."""

    trials: Annotated[Count, BeforeValidator(_check_equal_trials)] = 20
    """Number of trials per method and pair. The first trial has the published settings."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = [1000, 1001]
    """Seeds that each trial is trained with. They must differ from the study's own seeds."""

    together: Count = 4
    """Number of trials of a method that are chosen and trained at the same time."""

    objective: Literal["val/acc1", "val/loss"] = "val/acc1"
    """Metric to optimise: its mean over the seeds, after the epoch that `select` chooses."""

    lr: Range | None = None
    """Lowest and highest learning rate, searched for all methods. By default it is not searched."""

    weight_decay: Range | None = None
    """Lowest and highest weight decay, searched for all methods. By default it is not searched."""

    sampler: Literal["auto", "gp", "tpe", "random"] = "auto"
    """Chooses the settings of a trial: `gp` (Gaussian process), `tpe` or `random`. `auto` is `gp`
    for at most 6 settings, all continuous, without a pruner, and `tpe` otherwise."""

    pruner: Literal["none", "median", "hyperband"] = "none"
    """Stops trials that fall behind."""

    seed: Seed = 0
    """Seed of the sampler."""

    @property
    def maximise(self) -> bool:
        """Whether a higher objective is better."""
        return self.objective == "val/acc1"

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        for key in ("lr", "weight_decay"):
            limits = getattr(self, key)
            if limits is not None and limits[0] >= limits[1]:
                raise ValueError(f"{key} is {limits}; give the lowest value, then the highest")
        return self

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds has duplicates: {self.seeds}")
        return self

    @model_validator(mode="after")
    def _check_sampler(self) -> Self:
        if self.sampler == "gp" and self.pruner != "none":
            problem = "sampler 'gp' cannot learn from pruned trials"
            raise ValueError(f"{problem}; use 'tpe', or no pruner")
        return self
