"""Pure: what the public answers of waters, areas and the country are counted in."""

from datetime import timedelta

ANSWER_WINDOW = timedelta(days=365)
DECIMALS = 5  # of degrees, wherever a public point is told: about a metre, on a point that is coarser by itself
HOUR_S = 3600.0


def rounded_hours(seconds: float | None) -> float | None:
    """Hours with one decimal, as they are told; None where there is nothing to tell."""
    return None if seconds is None else round(seconds / HOUR_S, 1)
