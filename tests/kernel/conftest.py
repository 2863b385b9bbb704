"""What the kernel's tests share."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session


@pytest.fixture
def explain(session: Session) -> Callable[[str, dict[str, Any]], str]:
    """The plan of a statement where a sequential scan is no choice: an empty table would always get one."""

    def plan(statement: str, values: dict[str, Any]) -> str:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        return "\n".join(session.execute(text("EXPLAIN " + statement), values).scalars())

    return plan
