"""The demo model: an OpenAI-compatible endpoint with scripted answers, so that all works without a key.

A request goes through `server` (routes and OpenAI's errors), `turn` (what was said since the last human
message), `reading` (a sentence to intents), `extracts` and `essays` (what a tool is called with that has to be
called), `script` (intents to a reply), `completions` (a reply to chunks) and `faults` (the damage that tests ask
for in the model's name). It keeps no thread; `http` is the transport.
"""
