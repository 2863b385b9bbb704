"""Statistics for the planner, for tests that look at plans."""

from sqlalchemy import text
from sqlalchemy.orm import Session


def analyse(session: Session, table: str) -> None:
    """``ANALYZE`` a table as its owner: for the application's role the server skips it with a mere notice, and the plan
    would follow from whatever an autovacuum found there, such as nothing."""
    role = session.execute(text("SELECT current_user")).scalar_one()
    session.execute(text("SET LOCAL ROLE NONE"))
    session.execute(text(f"ANALYZE {table}"))  # a name of our own
    session.execute(text(f"SET LOCAL ROLE {role}"))
