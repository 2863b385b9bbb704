"""What nobody is told of, as an operator asks it."""

import csv
from pathlib import Path

from sqlalchemy import Engine, text

from tests.cli.conftest import Waterwatch


def test_coverage_lists_what_is_lacking_and_fails_while_something_is(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path
) -> None:
    with owner.begin() as connection:
        square = "ST_Multi(ST_MakeEnvelope({0}, 30, {0} + 1, 31, 4326))"
        for code, level, west in (("420000", "province", 110), ("420106", "county", 110), ("420107", "county", 111)):
            connection.execute(
                text(
                    "INSERT INTO jurisdiction (id, code, level, geom, parent_id) SELECT gen_random_uuid(), :code,"
                    f" :level, {square.format(west)}, (SELECT id FROM jurisdiction WHERE code = '420000')"
                ),
                {"code": code, "level": level},
            )
            connection.execute(
                text("""INSERT INTO jurisdiction_name (jurisdiction_id, lang, name)
                        SELECT id, 'zh-Hans', :name FROM jurisdiction WHERE code = :code"""),
                {"code": code, "name": f"区{code}"},
            )
        connection.execute(
            text("""INSERT INTO agency (id, code, kind, level, jurisdiction_id)
                    SELECT gen_random_uuid(), 'shui', 'water', 'county', id FROM jurisdiction WHERE code = '420106'""")
        )
        connection.execute(
            text("INSERT INTO competence (id, agency_id, min_severity) SELECT gen_random_uuid(), id, 2 FROM agency")
        )
        connection.execute(
            text("""INSERT INTO agency_contact (id, agency_id, channel, address, position)
                    SELECT gen_random_uuid(), id, 'email', 'shui@x.example', 1 FROM agency""")
        )
    sheet = tmp_path / "lacking.csv"
    told = waterwatch("agencies", "coverage", "--to", sheet)
    assert told.exit_code == 1
    assert "420107 区420107 区420000: 13 类" in told.output
    assert "2 个区县有空缺" in told.output
    rows = list(csv.DictReader(sheet.read_text("utf-8-sig").splitlines()))
    assert [(row["code"], row["foam"]) for row in rows] == [("420106", "2"), ("420107", "-")]
    with owner.begin() as connection:
        connection.execute(text("DELETE FROM jurisdiction_name; DELETE FROM jurisdiction WHERE code = '420107'"))
        connection.execute(text("UPDATE competence SET min_severity = 1"))
    assert waterwatch("agencies", "coverage").exit_code == 0
