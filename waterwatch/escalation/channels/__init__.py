"""The ways a case reaches an agency, each on one client of messaging."""
