"""A checkpoint of a run is written only while its writer owns the run."""

from django.db import migrations

# Called in the transaction that writes: the share lock keeps a successor from claiming the run until it is over.
CREATE = """
CREATE OR REPLACE FUNCTION runtime_hold(held_run uuid, held_attempt integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM runtime_run
        WHERE id = held_run AND attempt = held_attempt AND status = 'running' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % is owned by another attempt', held_run USING ERRCODE = 'CS001';
    END IF;
END $$
"""
DROP = "DROP FUNCTION runtime_hold(uuid, integer)"


class Migration(migrations.Migration):
    dependencies = [("runtime", "0001_tables")]
    operations = [migrations.RunSQL(CREATE, DROP)]
