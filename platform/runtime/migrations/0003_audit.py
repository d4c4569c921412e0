"""The audit: events that PostgreSQL chains at the commit, and lets nobody change. It may be applied twice."""

from django.db import migrations

# The chain's end. No model: nothing of ours writes it, and a test's flush does not know it.
HEAD = """
CREATE TABLE IF NOT EXISTS runtime_audithead (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    seq bigint NOT NULL,
    hash varchar(64) NOT NULL,
    at timestamptz NOT NULL
);
INSERT INTO runtime_audithead (seq, hash, at)
    SELECT 0, '', '-infinity' WHERE NOT EXISTS (SELECT FROM runtime_audithead);
"""

# At the commit, so that the head is locked for its length only: taken by the statement that appends, the lock would
# be held together with rows locked later, and two transactions would wait for each other.
#
# And last in the commit: a foreign key that is checked there locks the row it refers to, and must not wait for one while
# the head is held. Deferred triggers run in the order in which they were queued; the first of them touches its event
# once more, which queues the seal behind all others. Only events of the own transaction can be seen without a number.
#
# What runs as the owner must not find a temporary table of the caller's in place of ours.
SEAL = """
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);
CREATE OR REPLACE FUNCTION runtime_audit_seal() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT AS $$
<<seal>>
DECLARE
    head runtime_audithead;
    event record;
    previous varchar(64);
BEGIN
    SELECT * INTO STRICT head FROM runtime_audithead FOR UPDATE;
    FOR event IN SELECT id, body FROM runtime_auditevent WHERE seq IS NULL ORDER BY id LOOP
        previous := head.hash;
        head.seq := head.seq + 1;
        head.at := greatest(clock_timestamp(), head.at);
        head.hash := encode(sha256(convert_to(concat_ws(E'\\n',
            previous,
            head.seq,
            to_char(head.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            event.body
        ), 'UTF8')), 'hex');
        UPDATE runtime_auditevent AS row
            SET seq = head.seq, at = head.at, previous = seal.previous, hash = head.hash
            WHERE row.id = event.id;
    END LOOP;
    UPDATE runtime_audithead SET seq = head.seq, hash = head.hash, at = head.at WHERE seq < head.seq;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION runtime_audit_queue() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.id = (SELECT id FROM runtime_auditevent WHERE seq IS NULL ORDER BY id LIMIT 1) THEN
        UPDATE runtime_auditevent SET hash = hash WHERE id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS audit_queue ON runtime_auditevent;
CREATE CONSTRAINT TRIGGER audit_queue AFTER INSERT ON runtime_auditevent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION runtime_audit_queue();
DROP TRIGGER IF EXISTS audit_seal ON runtime_auditevent;
CREATE CONSTRAINT TRIGGER audit_seal AFTER UPDATE ON runtime_auditevent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.seq IS NULL) EXECUTE FUNCTION runtime_audit_seal();
"""

# A trigger within a trigger is the seal's own UPDATE.
GUARD = """
CREATE OR REPLACE FUNCTION runtime_audit_guard() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_TABLE_NAME = 'runtime_auditevent' THEN
        IF TG_OP = 'INSERT' AND NEW.seq IS NULL AND NEW.at IS NULL AND NEW.previous = '' AND NEW.hash = '' THEN
            RETURN NEW;
        END IF;
        IF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1 AND OLD.seq IS NULL
                AND NEW.id = OLD.id AND NEW.body = OLD.body THEN
            RETURN NEW;
        END IF;
    ELSIF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1 AND NEW.seq > OLD.seq THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'CS002';
END $$;
CREATE OR REPLACE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON runtime_auditevent
    FOR EACH ROW EXECUTE FUNCTION runtime_audit_guard();
CREATE OR REPLACE TRIGGER audit_guard_all BEFORE TRUNCATE ON runtime_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION runtime_audit_refuse();
CREATE OR REPLACE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON runtime_audithead
    FOR EACH ROW EXECUTE FUNCTION runtime_audit_guard();
CREATE OR REPLACE TRIGGER audit_guard_all BEFORE TRUNCATE ON runtime_audithead
    FOR EACH STATEMENT EXECUTE FUNCTION runtime_audit_refuse();
"""
REFUSE = """
CREATE OR REPLACE FUNCTION runtime_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % on % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'CS002';
END $$;
"""
DROP_HEAD = "DROP TABLE runtime_audithead"
DROP_SEAL = "DROP FUNCTION runtime_audit_queue() CASCADE; DROP FUNCTION runtime_audit_seal() CASCADE"
DROP_REFUSE = "DROP FUNCTION runtime_audit_refuse() CASCADE"
DROP_GUARD = "DROP FUNCTION runtime_audit_guard() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("runtime", "0002_fence")]
    operations = [
        migrations.RunSQL(HEAD, DROP_HEAD),
        migrations.RunSQL(SEAL, DROP_SEAL),
        migrations.RunSQL(REFUSE, DROP_REFUSE),
        migrations.RunSQL(GUARD, DROP_GUARD),
    ]
