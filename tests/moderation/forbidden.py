"""States the database must never be in, whoever did what: for tests that look after each step."""

from sqlalchemy import text

# Each names what must not be; all of them must find nothing.
FORBIDDEN = {
    "queued and not under review": "SELECT FROM review_item q JOIN report r ON r.id = q.report_id"
    " WHERE r.state <> 'in_review'",
    "under review and not queued": "SELECT FROM report r WHERE r.state = 'in_review'"
    " AND NOT EXISTS (SELECT FROM review_item q WHERE q.report_id = r.id)",
    "evidence that was not accepted": "SELECT FROM incident_report ir JOIN report r ON r.id = ir.report_id"
    " WHERE r.state NOT IN ('accepted', 'merged')",
    "accepted and no evidence": "SELECT FROM report r WHERE (r.state = 'merged' OR r.state = 'accepted'"
    " AND r.kind <> 'all_clear') AND NOT EXISTS (SELECT FROM incident_report ir WHERE ir.report_id = r.id)",
    "open without evidence": "SELECT FROM incident i WHERE i.closed_at IS NULL"
    " AND NOT EXISTS (SELECT FROM incident_report ir WHERE ir.incident_id = i.id)",
    "red by one pair of eyes": "SELECT FROM incident i WHERE i.severity = 4 AND i.closed_at IS NULL"
    " AND NOT EXISTS (SELECT FROM grade g"
    " WHERE g.incident_id = i.id AND g.standing = 4 AND g.seconded_by <> g.graded_by AND g.reversed_at IS NULL"
    " AND g.superseded_by_id IS NULL)",
    "a level no grade holds": "SELECT FROM incident i WHERE i.closed_at IS NULL AND i.graded_severity IS DISTINCT FROM"
    " (SELECT max(standing) FROM grade g WHERE g.incident_id = i.id AND g.reversed_at IS NULL"
    " AND g.superseded_by_id IS NULL)",
    "a water of another colour": "SELECT FROM (SELECT water_feature_id AS id, max(severity) AS level FROM incident"
    " WHERE closed_at IS NULL GROUP BY 1) i FULL JOIN (SELECT water_feature_id AS id, level FROM advisory"
    " WHERE basis = 'confirmed') a USING (id) WHERE i.level IS DISTINCT FROM a.level",
    "open and nobody told": "SELECT FROM incident i WHERE i.closed_at IS NULL AND NOT EXISTS (SELECT FROM"
    " escalation_case c WHERE c.incident_id = i.id AND c.state <> 'withdrawn')",
    "open with a case taken back": "SELECT FROM incident i JOIN escalation_case c ON c.incident_id = i.id"
    " WHERE i.closed_at IS NULL AND c.state = 'withdrawn' AND NOT (i.severity < 3 AND EXISTS (SELECT FROM agency a"
    " WHERE a.id = c.agency_id AND a.kind = 'water'))",
    "a case of another level": "SELECT FROM incident i JOIN escalation_case c ON c.incident_id = i.id"
    " WHERE i.closed_at IS NULL AND c.state <> 'withdrawn' AND c.severity <> i.severity"
    " AND i.stepped_down_at IS NULL",
    "taken back with a case that stands": "SELECT FROM incident i JOIN escalation_case c ON c.incident_id = i.id"
    " WHERE i.state IN ('retracted', 'merged') AND c.state NOT IN ('withdrawn', 'closed')",
    "a letter of a case taken back": "SELECT FROM delivery d JOIN escalation_case c ON c.id = d.case_id"
    " WHERE d.state = 'pending' AND (c.state = 'withdrawn') <> (d.says = 'withdrawn')",
    "told and not told otherwise": "SELECT FROM escalation_case c WHERE c.state = 'withdrawn' AND EXISTS ("
    " SELECT FROM (SELECT DISTINCT ON (address) says, state FROM delivery d WHERE d.case_id = c.id"
    " AND state <> 'cancelled' ORDER BY address, number DESC) l WHERE l.says <> 'withdrawn')",
    "judged without a decision": "SELECT FROM report r WHERE r.state IN ('accepted', 'merged', 'refused') AND 1 <> ("
    " SELECT count(*) FROM decision d WHERE d.report_id = r.id AND d.reversed_at IS NULL AND d.action ="
    " ANY(CASE r.state WHEN 'accepted' THEN ARRAY['accepted', 'patrol_accepted'] WHEN 'merged' THEN ARRAY['joined']"
    " ELSE ARRAY['refused'] END) AND (r.state <> 'refused' OR d.at = r.state_since))",
    "under review with a decision": "SELECT FROM report r JOIN decision d ON d.report_id = r.id WHERE d.reversed_at"
    " IS NULL AND r.state = 'in_review' AND d.action IN ('accepted', 'joined', 'patrol_accepted')",
    "an appeal judged by whom it is against": "SELECT FROM appeal a JOIN decision d ON d.report_id = a.report_id"
    " WHERE d.at > a.at AND d.person_id = a.refused_by AND d.action IN ('accepted', 'joined', 'refused')",
    "asked and handed out": "SELECT FROM question w JOIN review_item q ON q.report_id = w.report_id"
    " WHERE w.state = 'open' AND (q.set_aside IS NULL OR q.set_aside = 'screening')",
    "handed to the lead and handed out": "SELECT FROM review_item q WHERE q.set_aside IS DISTINCT FROM 'lead'"
    " AND NOT EXISTS (SELECT FROM appeal a WHERE a.report_id = q.report_id) AND (SELECT e.action FROM audit_entry e"
    " WHERE e.subject_kind = 'report' AND e.subject_id = q.report_id AND e.action IN ('report.handed',"
    " 'report.handed_back') ORDER BY e.id DESC LIMIT 1) = 'report.handed'",
    "a place nobody stands for": "SELECT FROM incident i WHERE i.state = 'retracted' AND i.public_extent IS NOT NULL"
    " AND EXISTS (SELECT FROM decision d JOIN report r ON r.id = d.report_id WHERE d.incident_id = i.id"
    " AND d.action = 'accepted' AND r.erased_at IS NOT NULL)",
    "words of what was erased": "SELECT FROM report r WHERE r.erased_at IS NOT NULL AND (EXISTS (SELECT FROM question"
    " x WHERE x.report_id = r.id) OR EXISTS (SELECT FROM appeal x WHERE x.report_id = r.id) OR EXISTS (SELECT FROM"
    " report_former x WHERE x.report_id = r.id))",
    "reversed twice or by nobody": "SELECT FROM decision d WHERE (d.reversed_at IS NOT NULL) <> EXISTS ("
    " SELECT FROM decision x WHERE x.reverses_id = d.id)",
}
FOUND = text(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS ({query})" for name, query in FORBIDDEN.items()))
