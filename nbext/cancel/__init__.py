"""The main job, stage by stage: select, consent, record, send, reconcile, report."""
