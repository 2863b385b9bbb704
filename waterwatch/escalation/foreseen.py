"""Whom a warning would tell that is not there yet: for whoever is about to grade. Nothing is written."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from waterwatch.agencies.registry import agency_names
from waterwatch.escalation import warning_queries
from waterwatch.zones.queries import ZoneAlong


@dataclass(frozen=True)
class Foreseen:
    """An agency that would be warned; ``is_operator``: it runs an intake or protects drinking water on the way."""

    agency_id: uuid.UUID
    name: str
    is_operator: bool


def foresee(
    session: Session, feature_ids: Sequence[int], zones: Collection[ZoneAlong], kind: str, level: int, *, language: str
) -> list[Foreseen]:
    """Whom a warning of this level (severity rank) on these reaches and lakes would tell, as ``warnings.follow`` does.

    ``feature_ids``: the nearest first, and so are the agencies. ``zones``: along them. Two queries.
    """
    own = warning_queries.with_operators(warning_queries.competent_on(session, feature_ids, kind, level), zones)
    names = agency_names(session, list(own), lang=language)
    operators = {zone.operator_id for zone in zones if zone.kind in warning_queries.DRINKING}
    nth = {feature_id: at for at, feature_id in enumerate(feature_ids)}
    nearest = {agency_id: min(nth[one] for one in features) for agency_id, features in own.items()}
    return [
        Foreseen(agency_id, names[agency_id], agency_id in operators)
        for agency_id in sorted(own, key=lambda one: (nearest[one], one))
    ]
