"""`/api/v1`, the chat's part: what a page can do, for programs, in the product's own words.

A session is a thread, and a task is a run with all the runs that go on with it: `session_id` and `task_id` are their
ids. docs/howto/api.md shows each door, docs/reference/events.md what the streams tell.
"""
