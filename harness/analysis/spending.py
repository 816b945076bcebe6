"""What a run paid to providers in all, and several runs together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.usage import CellUsage
from harness.stats.totals import total
from harness.store.schema import ChargeLine, Spent
from harness.values import CellName

Bill = tuple[str, float | None, float | None, float | None]  # model; USD: in all, known of it, at most


def spent(
    usage: Mapping[CellName, CellUsage],
    charges: Iterable[ChargeLine],
    paid: Iterable[str],
    cut_off: Iterable[str] = (),
) -> Spent | None:
    """Returns what a run paid to providers in all, requests beside the answers included; None if no model is `paid`.

    Where a sitting was cut off with requests under way (`cut_off`: of which models), what those cost is unknown.
    """
    models = set(paid)
    lost = sorted(models & set(cut_off))
    if not models:
        return None
    answers: list[Bill] = [
        (model, told.usd, told.known_usd, told.most_usd) for (model, _), told in usage.items() if model in models
    ]
    beside: list[Bill] = [
        (line.model, line.usd, line.usd or 0.0, line.most_usd) for line in charges if line.model in models
    ]
    every: list[Bill] = [*answers, *beside, *((name, None, 0.0, None) for name in lost)]
    return Spent(
        cut_off=tuple(lost),
        usd=total(usd for _, usd, _, _ in every),
        known_usd=total(known for _, _, known, _ in every),
        most_usd=total(most for _, _, _, most in every),
        beside_answers_usd=total(usd for _, usd, _, _ in beside),
        by_model={
            name: total(usd for model, usd, _, _ in every if model == name)
            for name in dict.fromkeys(model for model, _, _, _ in every)
        },
    )


def spent_together(several: Sequence[Spent | None]) -> Spent | None:
    """Returns what several runs paid to providers together; None if none of them paid."""
    parts = [one for one in several if one is not None]
    if not parts:
        return None
    models = dict.fromkeys(name for one in parts for name in one.by_model)
    return Spent(
        cut_off=tuple(sorted({name for one in parts for name in one.cut_off})),
        usd=total(one.usd for one in parts),
        known_usd=total(one.known_usd for one in parts),
        most_usd=total(one.most_usd for one in parts),
        beside_answers_usd=total(one.beside_answers_usd for one in parts),
        by_model={name: total(one.by_model[name] for one in parts if name in one.by_model) for name in models},
    )
