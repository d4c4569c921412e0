// The scenarios with a JavaScript client: `node sdk.mjs @langchain/langgraph-sdk-1.15`. A line of JSON for each.
import assert from "node:assert/strict";
import http from "node:http";
import { report, runAll, sleep } from "./reporting.mjs";

const name = process.argv[2];
const { Client } = await import(name);
const { API_URL: apiUrl, API_KEY: apiKey, STRANGERS_KEY: strangersKey, OPERATORS_KEY: operatorsKey } = process.env;
const client = new Client({ apiUrl, apiKey });
const stranger = new Client({ apiUrl, apiKey: strangersKey, callerOptions: { maxRetries: 0 } });

const operator = new Client({ apiUrl, apiKey: operatorsKey });
const once = new Client({ apiUrl, apiKey, callerOptions: { maxRetries: 0 } });

const A = "shop";
const say = (text) => ({ messages: [{ role: "user", content: text }] });
const HELLO = say("hello");
const STORY = say("tell me a long story");
const REFUND = say("refund 0.01 of order 1042");
const humans = (values) => values.messages.filter((each) => each.type === "human").map((each) => each.content);

async function heard(stream, most = Infinity) {
  const parts = [];
  for await (const part of stream) {
    parts.push(part);
    if (parts.length >= most) break;
  }
  return parts;
}

const told = (parts) => parts.filter((part) => part.event !== "metadata" && part.event !== "end");
const ids = (parts) => told(parts).map((part) => part.id);

async function refused(status, promise) {
  await assert.rejects(promise, (error) => error.status === status || String(error.message).includes(String(status)));
}

async function begun(threadId, options = {}) {
  const abort = new AbortController();
  const stream = client.runs.stream(threadId, A, {
    input: STORY, streamMode: "messages-tuple", onDisconnect: "continue", signal: abort.signal, ...options,
  });
  let runId;
  const parts = [];
  try {
    for await (const part of stream) {
      if (part.event === "metadata") runId = part.data.run_id;
      else parts.push(part);
      if (parts.length === 5) abort.abort();
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  }
  return { runId, parts };
}

const scenarios = {
  async assistants() {
    const [found] = await client.assistants.search({ graphId: A });
    assert.equal(found.graph_id, A);
    assert.equal((await client.assistants.get(found.assistant_id)).name, found.name);
    assert.ok((await client.assistants.getSchemas(A)).input_schema.properties.messages);
    assert.ok((await client.assistants.getGraph(A)).nodes.length > 2);
  },

  async versions() {
    const made = await operator.assistants.create({ graphId: A, name: "Tried", metadata: { room: crypto.randomUUID() } });
    const which = made.assistant_id;
    await refused(403, once.assistants.update(which, { name: "Mine" }));
    const changed = await operator.assistants.update(which, { name: "Tried twice", config: { tags: ["b"] } });
    assert.deepEqual([made.version, changed.version], [1, 2]);
    assert.deepEqual((await operator.assistants.getVersions(which)).map((each) => each.version), [2, 1]);
    assert.equal((await operator.assistants.setLatest(which, 1)).name, "Tried");
    assert.equal(await client.assistants.count({ metadata: made.metadata }), 1);
    assert.deepEqual(await operator.assistants.getSubgraphs(which), {});
    assert.equal((await client.runs.wait(null, which, { input: HELLO })).messages.at(-1).type, "ai");
    await operator.assistants.delete(which);
    await refused(404, once.assistants.get(which));
  },

  async crons() {
    const { thread_id } = await client.threads.create();
    const made = await client.crons.createForThread(thread_id, A, { schedule: "0 9 * * 1-5", input: HELLO });
    const other = await client.crons.create(A, { schedule: "0 9 1 1 *", input: HELLO, timezone: "Asia/Shanghai" });
    const found = await client.crons.search({ threadId: thread_id });
    assert.deepEqual(found.map((each) => each.cron_id), [made.cron_id]);
    assert.equal(other.next_run_date.slice(5, 16), "01-01T01:00");
    assert.equal((await client.crons.update(made.cron_id, { enabled: false })).next_run_date, null);
    assert.equal(await stranger.crons.count(), 0);
    await refused(404, stranger.crons.delete(made.cron_id));
    for (const each of [made, other]) await client.crons.delete(each.cron_id);
    assert.equal(await client.crons.count({ threadId: thread_id }), 0);
  },

  async webhook() {
    let tell;
    const told = new Promise((resolve) => (tell = resolve));
    const server = http.createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      response.end("ok");
      tell(JSON.parse(body));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const webhook = `http://127.0.0.1:${server.address().port}/hook`;
    const run = await client.runs.create(null, A, { input: HELLO, webhook });
    const message = await Promise.race([told, sleep(20_000)]);
    server.close();
    assert.deepEqual([message?.run_id, message?.status], [run.run_id, "success"]);
    assert.equal(message.values.messages.at(-1).type, "ai");
  },

  async threads() {
    const room = crypto.randomUUID();
    const made = await client.threads.create({ metadata: { room } });
    assert.equal(made.status, "idle");
    await client.threads.update(made.thread_id, { metadata: { kind: "test" } });
    assert.deepEqual((await client.threads.get(made.thread_id)).metadata, { room, kind: "test" });
    const found = await client.threads.search({ metadata: { room } });
    assert.deepEqual(found.map((each) => each.thread_id), [made.thread_id]);
    assert.equal(await client.threads.count({ metadata: { room } }), 1);
    await refused(404, stranger.threads.get(made.thread_id));
    await client.threads.delete(made.thread_id);
    await refused(404, client.threads.get(made.thread_id));
  },

  async stream() {
    const { thread_id } = await client.threads.create();
    const modes = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug"];
    const parts = await heard(client.runs.stream(thread_id, A, { input: HELLO, streamMode: modes }));
    const names = new Set(parts.map((part) => part.event));
    for (const event of ["metadata", "values", "updates", "messages", "tasks", "checkpoints", "debug"])
      assert.ok(names.has(event), `no ${event}`);
    const said = parts.filter((part) => part.event === "messages").map((part) => part.data[0].content).join("");
    const last = parts.filter((part) => part.event === "values").at(-1).data;
    assert.ok(said.includes(last.messages.at(-1).content));
    const old = await heard(client.runs.stream(thread_id, A, { input: HELLO, streamMode: "messages" }));
    assert.ok(old.some((part) => part.event === "messages/partial"));
    const events = await heard(client.runs.stream(thread_id, A, { input: HELLO, streamMode: "events" }));
    assert.ok(events.some((part) => part.data?.event === "on_chat_model_stream"));
    const runs = await client.runs.list(thread_id);
    assert.deepEqual(runs.map((run) => run.status), ["success", "success", "success"]);
  },

  async drop() {
    const cut = new Client({ apiUrl, apiKey, defaultHeaders: { "x-cut-after": "6000" } });
    const { thread_id } = await client.threads.create();
    const options = { input: STORY, streamMode: ["messages-tuple", "values"], streamResumable: true };
    const parts = await heard(cut.runs.stream(thread_id, A, options));
    const [run] = await client.runs.list(thread_id);
    const whole = await heard(client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1" }));
    assert.equal(run.status, "success");
    assert.ok(ids(whole).length > 20);
    assert.deepEqual(told(parts), told(whole), "not each event exactly once");
  },

  async resume() {
    const { thread_id } = await client.threads.create();
    const { runId, parts } = await begun(thread_id);
    const lastEventId = parts.at(-1).id;
    const rest = await heard(client.runs.joinStream(thread_id, runId, { lastEventId }));
    const whole = await heard(client.runs.joinStream(thread_id, runId, { lastEventId: "-1" }));
    assert.deepEqual([...ids(parts), ...ids(rest)], ids(whole), "not each event exactly once");
  },

  async wait() {
    const { thread_id } = await client.threads.create();
    const values = await client.runs.wait(thread_id, A, { input: HELLO });
    assert.deepEqual(values.messages.map((each) => each.type), ["human", "ai"]);
    const run = await client.runs.create(thread_id, A, { input: HELLO });
    assert.equal((await client.runs.join(thread_id, run.run_id)).messages.length, 4);
    assert.equal((await client.runs.get(thread_id, run.run_id)).status, "success");
    await client.runs.delete(thread_id, run.run_id);
    await refused(404, client.runs.get(thread_id, run.run_id));
    await assert.rejects(client.runs.create(thread_id, "nobody", { input: HELLO }), /Invalid assistant/);
  },

  async interrupt() {
    const edited = { name: "refund_order", args: { order_number: 1042, amount: "0.02", reason: "Test" } };
    const answers = [
      () => ({ decisions: [{ type: "approve" }] }),
      () => ({ decisions: [{ type: "edit", edited_action: edited, editedAction: edited }] }),
      () => [{ type: "accept", args: null }],
      () => [{ type: "ignore", args: null }],
      (id) => ({ [id]: { type: "approve" } }),
    ];
    for (const answer of answers) {
      const { thread_id } = await client.threads.create();
      const { __interrupt__: [asked] } = await client.runs.wait(thread_id, A, { input: REFUND });
      assert.equal(asked.value.action_requests[0].name, "refund_order");
      const thread = await client.threads.get(thread_id);
      assert.equal(thread.status, "interrupted");
      assert.equal(Object.values(thread.interrupts)[0][0].id, asked.id);
      await refused(409, client.runs.create(thread_id, A, { input: HELLO }));
      await refused(409, client.runs.create(thread_id, A, { command: { resume: { ["0".repeat(32)]: "yes" } } }));
      const command = { resume: answer(asked.id) };
      const parts = await heard(client.runs.stream(thread_id, A, { input: {}, command, streamMode: ["values"] }));
      const last = parts.filter((part) => part.event === "values").at(-1).data;
      assert.ok(!last.__interrupt__);
      assert.equal(last.messages.at(-1).type, "ai");
      await refused(409, client.runs.create(thread_id, A, { command }));
    }
  },

  async withdraw() {
    const { thread_id } = await client.threads.create();
    await client.runs.wait(thread_id, A, { input: REFUND });
    await client.runs.wait(thread_id, A, { command: { goto: "__end__" } });
    assert.equal((await client.threads.get(thread_id)).status, "idle");
  },

  async cancel() {
    const { thread_id } = await client.threads.create();
    const first = await begun(thread_id);
    await refused(409, client.runs.create(thread_id, A, { input: HELLO, multitaskStrategy: "reject" }));
    await client.runs.cancel(thread_id, first.runId, true);
    assert.equal((await client.runs.get(thread_id, first.runId)).status, "interrupted");
    const undone = await begun(thread_id);
    await client.runs.cancel(thread_id, undone.runId, true, "rollback");
    await refused(404, client.runs.get(thread_id, undone.runId));
    const values = await client.runs.wait(thread_id, A, { input: HELLO });
    assert.deepEqual(humans(values), ["tell me a long story", "hello"]);
    const left = await begun(thread_id, { onDisconnect: "cancel" });
    for (let tries = 0; (await client.runs.get(thread_id, left.runId)).status !== "interrupted"; tries++) {
      assert.ok(tries < 100, "it was not stopped");
      await sleep(100);
    }
    const { runId } = await begun(thread_id);
    await client.runs.cancelMany({ threadId: thread_id, runIds: [runId], action: "interrupt" });
    assert.deepEqual(humans(await client.runs.wait(thread_id, A, { input: HELLO })).at(-1), "hello");
    assert.equal((await client.runs.get(thread_id, runId)).status, "interrupted");
  },

  async states() {
    const { thread_id } = await client.threads.create();
    await client.runs.wait(thread_id, A, { input: HELLO });
    const state = await client.threads.getState(thread_id);
    assert.deepEqual(state.next, []);
    const history = await client.threads.getHistory(thread_id, { limit: 50 });
    assert.deepEqual(history[0].checkpoint, state.checkpoint);
    assert.equal(history.at(-1).parent_checkpoint, null);
    const again = await client.threads.getState(thread_id, history[1].checkpoint);
    assert.deepEqual(again.checkpoint, history[1].checkpoint);
    const before = await client.threads.getHistory(thread_id, { limit: 1, before: { configurable: history[0].checkpoint } });
    assert.deepEqual(before[0].checkpoint, history[1].checkpoint);
    await client.threads.updateState(thread_id, { values: say("by hand") });
    assert.deepEqual(humans((await client.threads.getState(thread_id)).values), ["hello", "by hand"]);
  },

  async fork() {
    const { thread_id } = await client.threads.create();
    await client.runs.wait(thread_id, A, { input: HELLO });
    const [then, ...earlier] = await client.threads.getHistory(thread_id, { limit: 50 });
    await client.runs.wait(thread_id, A, { input: say("what is 1+1") });
    const forked = await client.runs.wait(thread_id, A, { input: say("instead"), checkpoint: then.checkpoint });
    assert.deepEqual(humans(forked), ["hello", "instead"]);
    const { checkpoint } = earlier.find((each) => each.next[0] === "model");
    const parts = await heard(client.runs.stream(thread_id, A, { input: null, checkpoint, streamMode: "values" }));
    const again = parts.filter((part) => part.event === "values").at(-1).data;
    assert.deepEqual(again.messages.map((each) => each.type), ["human", "ai"]);
    await refused(404, client.runs.create(thread_id, A, { input: HELLO, checkpointId: crypto.randomUUID() }));
  },

  async copies() {
    const { thread_id } = await client.threads.create();
    const values = await client.runs.wait(thread_id, A, { input: HELLO });
    const copy = await client.threads.copy(thread_id);
    assert.notEqual(copy.thread_id, thread_id);
    assert.deepEqual((await client.threads.getState(copy.thread_id)).values, values);
    await refused(404, stranger.threads.copy(thread_id));
    assert.equal((await client.threads.prune([thread_id], { strategy: "keep_latest" })).pruned_count, 1);
    assert.equal((await client.threads.getHistory(thread_id)).length, 1);
    assert.equal((await client.threads.prune([thread_id, copy.thread_id])).pruned_count, 2);
  },

  async stateless() {
    const values = await client.runs.wait(null, A, { input: HELLO });
    assert.equal(values.messages.at(-1).type, "ai");
    assert.ok((await heard(client.runs.stream(null, A, { input: HELLO }))).some((part) => part.event === "values"));
    const keep = { on_completion: "keep" }; // the client passes what it does not know on as it is
    const made = await client.runs.createBatch([1, 2].map(() => ({ assistantId: A, input: HELLO, ...keep })));
    assert.equal(new Set(made.map((run) => run.thread_id)).size, 2);
    for (const run of made) await client.runs.join(run.thread_id, run.run_id);
  },

  async following() {
    const { thread_id } = await client.threads.create();
    const abort = new AbortController();
    const done = [];
    const following = (async () => {
      for await (const part of client.threads.joinStream(thread_id, { lastEventId: "-1", signal: abort.signal })) {
        if (part.event === "metadata" && part.data.status === "run_done") done.push(part.data.run_id);
        if (done.length === 2) return;
      }
    })();
    const made = [];
    for (const text of ["hello", "what is 1+1"]) {
      const run = await client.runs.create(thread_id, A, { input: say(text) });
      made.push(run.run_id);
      await client.runs.join(thread_id, run.run_id);
    }
    await Promise.race([following, sleep(20_000)]);
    abort.abort();
    assert.deepEqual(done, made);
  },

  async store() {
    const space = [`test-${crypto.randomUUID()}`, "inner"];
    await client.store.putItem(space, "a", { n: 1 });
    await client.store.putItem(space, "b", { n: 2 });
    assert.deepEqual((await client.store.getItem(space, "a")).value, { n: 1 });
    assert.ok((await client.store.getItem(space, "a")).createdAt);
    assert.equal(await client.store.getItem(space, "c"), null);
    const { items } = await client.store.searchItems([space[0]], { filter: { n: 2 } });
    assert.deepEqual(items.map((item) => item.key), ["b"]);
    const listed = await client.store.listNamespaces({ prefix: [space[0]] });
    assert.deepEqual(listed.namespaces ?? listed, [space]);
    assert.equal(await stranger.store.getItem(space, "a"), null);
    assert.deepEqual((await stranger.store.searchItems([space[0]])).items, []);
    await client.store.deleteItem(space, "a");
    assert.equal(await client.store.getItem(space, "a"), null);
  },
};

await runAll(scenarios, report);
process.exit(0);
