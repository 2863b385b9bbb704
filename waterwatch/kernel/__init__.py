"""What every room stands on: settings, database, identity, outbox, audit, states, objects. No Flask, no RQ."""
