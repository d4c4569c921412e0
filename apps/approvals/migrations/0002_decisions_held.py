"""What no vote allowed, the database refuses: from a shell or by a tool nothing is approved past the decision service.

The service writes the vote, then the request, then the call, in one transaction; each is held against the former at
once, so that whoever writes it is told. That a request is closed without a decision (expired, cancelled, superseded)
and that a call is stopped stays free: nothing runs by it.
"""

from django.db import migrations

# What runs in a session must not find a temporary table of that session's in place of ours.
SEARCH_PATH = "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);"

REQUEST = """
CREATE OR REPLACE FUNCTION approvals_request_guard() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    kinds text[] := CASE NEW.status
        WHEN 'approved' THEN '{approve,edit}' WHEN 'rejected' THEN '{reject}' ELSE '{respond}' END;
    deciding record;
    others bigint;
BEGIN
    IF OLD.status <> 'pending' THEN
        RAISE EXCEPTION 'approval request % is % and stays so', OLD.id, OLD.status USING ERRCODE = 'CS003';
    END IF;
    SELECT args_digest INTO deciding FROM approvals_vote
        WHERE request_id = NEW.id AND voter_id = NEW.decided_by_id AND via = NEW.via AND verdict = ANY (kinds)
        ORDER BY id DESC LIMIT 1;
    IF FOUND AND (NEW.status <> 'approved' OR NEW.via = 'break_glass' OR NEW.quorum = 1) THEN
        RETURN NEW;
    END IF;
    SELECT count(*) INTO others FROM approvals_vote
        WHERE request_id = NEW.id AND verdict = ANY (kinds) AND args_digest = deciding.args_digest
            AND (NEW.escalated_at IS NULL OR created_at > NEW.escalated_at);
    IF others < NEW.quorum THEN
        RAISE EXCEPTION 'approval request %: nobody, or too few, voted for it to be %', NEW.id, NEW.status
            USING ERRCODE = 'CS003', HINT = 'Decide in the admin, or by manage.py decide.';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER request_guard BEFORE UPDATE OF status ON approvals_approvalrequest FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status
        AND (OLD.status <> 'pending' OR NEW.status IN ('approved', 'rejected', 'responded')))
    EXECUTE FUNCTION approvals_request_guard();

CREATE OR REPLACE FUNCTION approvals_asked_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'approval request %: what was asked about stays, and fewer votes are not enough', OLD.id
        USING ERRCODE = 'CS003';
END $$;
CREATE OR REPLACE TRIGGER asked_guard BEFORE UPDATE OF quorum, question, tool_call_id ON approvals_approvalrequest FOR EACH ROW
    WHEN (NEW.quorum < OLD.quorum OR OLD.question <> NEW.question OR OLD.tool_call_id <> NEW.tool_call_id)
    EXECUTE FUNCTION approvals_asked_guard();
"""

# A call that was never asked about is approved as it is judged; everything later needs its newest request.
CALL = """
CREATE OR REPLACE FUNCTION approvals_call_guard() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    newest record;
BEGIN
    IF OLD.state IN ('waiting', 'unknown') AND NEW.state IN ('approved', 'rejected', 'responded') THEN
        SELECT id, status, decided_by_id INTO newest FROM approvals_approvalrequest
            WHERE tool_call_id = NEW.id ORDER BY created_at DESC LIMIT 1;
        IF newest.status = NEW.state AND newest.decided_by_id = NEW.decided_by_id AND (
            NEW.state <> 'approved' OR EXISTS (
                SELECT FROM approvals_vote WHERE request_id = newest.id AND voter_id = NEW.decided_by_id
                    AND verdict IN ('approve', 'edit') AND args_digest = NEW.args_digest
            )
        ) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'tool call %: nobody decided that it goes from % to %', NEW.id, OLD.state, NEW.state
        USING ERRCODE = 'CS003', HINT = 'Decide in the admin, or by manage.py decide.';
END $$;
CREATE OR REPLACE TRIGGER call_guard BEFORE UPDATE OF state ON runtime_toolcall FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state
        AND NEW.state IN ('proposed', 'approved', 'running', 'rejected', 'responded')
        AND NOT (OLD.state = 'proposed' AND NEW.state = 'approved')
        AND NOT (OLD.state = 'approved' AND NEW.state = 'running'))
    EXECUTE FUNCTION approvals_call_guard();
"""
DROP_REQUEST = """
DROP FUNCTION approvals_request_guard() CASCADE;
DROP FUNCTION approvals_asked_guard() CASCADE;
"""
DROP_CALL = "DROP FUNCTION approvals_call_guard() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_tables"), ("runtime", "0001_tables")]
    operations = [
        migrations.RunSQL(SEARCH_PATH, migrations.RunSQL.noop),
        migrations.RunSQL(REQUEST, DROP_REQUEST),
        migrations.RunSQL(CALL, DROP_CALL),
    ]
