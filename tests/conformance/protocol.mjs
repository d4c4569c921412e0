// @langchain/react in a page of jsdom: event streaming v2. `node protocol.mjs`. A line of JSON for each scenario.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { JSDOM } from "jsdom";
import { report, runAll, sleep } from "./reporting.mjs";

const page = new JSDOM("<!doctype html><div id=root></div>", { url: "http://localhost/" });
globalThis.window = page.window;
globalThis.document = page.window.document;
globalThis.sessionStorage = page.window.sessionStorage;

const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useStream } = await import("@langchain/react");
const { API_URL: apiUrl, API_KEY: apiKey } = process.env;

const say = (content) => ({ messages: [{ type: "human", content }] });
const resting = (count) => (thread) => !thread.isLoading && thread.messages.length === count;

// Mounts the hook; `now()` is what it last rendered.
function mounted(options = {}) {
  let latest;
  let threadId;
  function Thread() {
    const onThreadId = (id) => (threadId = id);
    latest = useStream({ apiUrl, apiKey, assistantId: "shop", onThreadId, ...options });
    return null;
  }
  const root = createRoot(document.getElementById("root"));
  root.render(createElement(Thread));
  const until = async (holds) => {
    for (let tries = 0; !(latest && holds(latest)); tries++) {
      assert.ok(tries < 400, `never came: ${holds}; error ${latest?.error}; ${latest?.messages?.length} messages`);
      await sleep(50);
    }
    return latest;
  };
  return { now: () => latest, id: () => threadId, until, close: () => root.unmount() };
}

async function state(threadId) {
  const answer = await fetch(`${apiUrl}/threads/${threadId}/state`, { headers: { "x-api-key": apiKey } });
  return (await answer.json()).values;
}

async function talk(thread, text, count) {
  await thread.until((each) => !each.isThreadLoading);
  thread.now().submit(say(text));
  await thread.until((each) => each.isLoading);
  await thread.until(resting(count));
  assert.equal(thread.now().error, undefined);
}

const ids = (messages) => messages.map((message) => message.id);

const scenarios = {
  async protocol() {
    const thread = mounted();
    try {
      await talk(thread, "where is order 1042?", 4); // the question, the call, its result, the answer
      assert.deepEqual(thread.now().toolCalls.map((call) => [call.name, call.status]), [["look_up_order", "finished"]]);
      await talk(thread, "hello again", 6);
      const { messages } = await state(thread.id());
      assert.deepEqual(ids(thread.now().messages), ids(messages));
      assert.equal(thread.now().messages.at(-1).text, messages.at(-1).content);
    } finally {
      thread.close();
    }
    const again = mounted({ threadId: thread.id() });
    try {
      await again.until(resting(6));
    } finally {
      again.close();
    }
  },

  async protocolDrop() {
    const thread = mounted({ defaultHeaders: { "x-cut-after": `6000 once ${randomUUID()}` } });
    try {
      await talk(thread, "tell me a long story", 2);
      const { messages } = await state(thread.id());
      assert.deepEqual(ids(thread.now().messages), ids(messages));
      assert.equal(thread.now().messages.at(-1).text, messages.at(-1).content);
    } finally {
      thread.close();
    }
  },

  async protocolInterrupt() {
    const thread = mounted();
    try {
      await thread.until((each) => !each.isThreadLoading);
      thread.now().submit(say("refund 0.01 of order 1042"));
      const { interrupt } = await thread.until((each) => each.interrupt && !each.isLoading);
      assert.equal(interrupt.value.action_requests?.[0].name ?? interrupt.value.actionRequests[0].name, "refund_order");
      const before = thread.now().messages.length;
      await thread.now().respond({ decisions: [{ type: "approve" }] });
      await thread.until((each) => !each.isLoading && !each.interrupt && each.messages.length > before);
      assert.equal(thread.now().messages.at(-1).type, "ai");
    } finally {
      thread.close();
    }
  },
};

await runAll(scenarios, report);
process.exit(0);
