"""The calendar that comes with the package ``chinesecalendar``, made from the State Council's notices of many years."""

from datetime import date

from chinese_calendar import constants, is_workday

from waterwatch.workdays.service import days_of


def packaged() -> dict[date, bool]:
    """Every day of the years the package knows, and whether it is worked."""
    years = range(min(constants.holidays).year, max(constants.workdays).year + 1)
    return {day: bool(is_workday(day)) for year in years for day in days_of(year)}
