// useStream in a page of jsdom: `node react.mjs @langchain/langgraph-sdk-1.15`. A line of JSON for each scenario.
import assert from "node:assert/strict";
import { JSDOM } from "jsdom";
import { report, runAll, sleep } from "./reporting.mjs";

const page = new JSDOM("<!doctype html><div id=root></div>", { url: "http://localhost/" });
globalThis.window = page.window;
globalThis.document = page.window.document;
globalThis.sessionStorage = page.window.sessionStorage;

const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useStream } = await import(`${process.argv[2]}/react`);
const { API_URL: apiUrl, API_KEY: apiKey } = process.env;

const say = (content) => ({ messages: [{ type: "human", content }] });

// Mounts the hook; `now()` is what it last rendered.
function mounted(options = {}) {
  let latest;
  function Thread() {
    latest = useStream({ apiUrl, apiKey, assistantId: "shop", messagesKey: "messages", ...options });
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
  return { now: () => latest, until, close: () => root.unmount() };
}

const resting = (count) => (thread) => !thread.isLoading && thread.messages.length === count;

async function talk({ fetchStateHistory }) {
  const thread = mounted({ fetchStateHistory });
  try {
    await thread.until((each) => !each.isThreadLoading);
    thread.now().submit(say("hello"));
    await thread.until((each) => each.isLoading);
    await thread.until(resting(2));
    thread.now().submit(say("hello again"));
    await thread.until((each) => each.isLoading);
    await thread.until(resting(4));
    assert.equal(thread.now().error, undefined);
    return thread;
  } catch (error) {
    thread.close();
    throw error;
  }
}

const scenarios = {
  async useStream() {
    (await talk({ fetchStateHistory: false })).close();
  },

  async useStreamInterrupt() {
    const thread = mounted({ fetchStateHistory: true });
    try {
      await thread.until((each) => !each.isThreadLoading);
      thread.now().submit(say("refund 0.01 of order 1042"));
      const { interrupt } = await thread.until((each) => each.interrupt && !each.isLoading);
      assert.equal(interrupt.value.action_requests[0].name, "refund_order");
      const before = thread.now().messages.length;
      thread.now().submit(undefined, { command: { resume: { decisions: [{ type: "approve" }] } } });
      await thread.until((each) => each.isLoading);
      await thread.until((each) => !each.isLoading && !each.interrupt && each.messages.length > before);
      assert.equal(thread.now().messages.at(-1).type, "ai");
    } finally {
      thread.close();
    }
  },

  async useStreamBranches() {
    const thread = await talk({ fetchStateHistory: true });
    try {
      await thread.until((each) => each.history.length > 3);
      const second = thread.now().messages[2];
      const checkpoint = thread.now().getMessagesMetadata(second).firstSeenState.parent_checkpoint;
      thread.now().submit(say("instead"), { checkpoint });
      await thread.until((each) => each.isLoading);
      await thread.until((each) => !each.isLoading && each.messages[2]?.content === "instead");
      const answer = thread.now().messages[3];
      const { parent_checkpoint: asked } = thread.now().getMessagesMetadata(answer).firstSeenState;
      thread.now().submit(undefined, { checkpoint: asked });
      await thread.until((each) => each.isLoading);
      await thread.until((each) => !each.isLoading && each.messages.length === 4 && each.messages[3].id !== answer.id);
      assert.equal(thread.now().error, undefined);
    } finally {
      thread.close();
    }
  },
};

await runAll(scenarios, report);
process.exit(0);
