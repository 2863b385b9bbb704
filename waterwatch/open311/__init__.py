"""Open311 GeoReport v2 on the same services, so that any 311 application can report to us."""
