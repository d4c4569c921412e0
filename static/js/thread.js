// Puts the frames of a thread's socket in their place. The frames are described in apps/chat/rendering.py.
//
// The id of the last event seen is all the state there is: a connection, the first or a later one, asks for what came
// after it, so nothing is lost; what arrives twice replaces itself, so nothing is doubled.

const thread = document.querySelector("#thread");
let cursor = thread.dataset.cursor;

const position = (id) => id.split("-").map(BigInt);

function isSeen(id) {
  const [epoch, sequence] = position(id);
  const [ourEpoch, ourSequence] = position(cursor);
  return epoch === ourEpoch && sequence <= ourSequence;
}

// Where an element that is new here goes: after the last one whose order is not greater.
function placeFor(order) {
  const timeline = document.querySelector("#timeline");
  let before = timeline.lastElementChild;
  while (before && before.dataset.order > order) before = before.previousElementSibling;
  return before ? { target: before, swap: "afterend" } : { target: timeline, swap: "afterbegin" };
}

function placeItem(frame) {
  const there = document.getElementById(frame.item);
  if (!there) {
    const order = frame.content.match(/data-order="([^"]*)"/)[1];
    return placeFor(order);
  }
  const isKept = frame.only === "missing" || (frame.only === "open" && !("open" in there.dataset));
  return isKept ? null : { target: there, swap: "outerHTML" };
}

function place(frame) {
  if (frame.item) return placeItem(frame);
  if (frame.morph) return { target: document.getElementById(frame.morph), swap: "outerMorph" };
  if (frame.reset) return { target: document.getElementById("timeline"), swap: "outerHTML" };
  return null;
}

function appendText(frame) {
  const message = document.getElementById(frame.append);
  if (message && "open" in message.dataset) message.querySelector(".message__text").append(frame.text);
}

function clear(runId) {
  for (const message of thread.querySelectorAll(`[data-open][data-run="${runId}"]`)) message.remove();
}

thread.addEventListener("htmx:ws:before:connection", ({ detail: { connection } }) => {
  const url = new URL(connection.url);
  url.searchParams.set("after", cursor);
  connection.url = url.href;
});

thread.addEventListener("htmx:ws:before:message:incoming", (event) => {
  const frame = JSON.parse(event.detail.message.data);
  thread.dispatchEvent(new CustomEvent("thread:frame"));
  if (frame.id && !frame.reset && isSeen(frame.id)) return event.preventDefault();
  if (frame.id) cursor = frame.id;
  if (frame.append) appendText(frame);
  if (frame.clear) clear(frame.clear);
  if (frame.morph) thread.dispatchEvent(new CustomEvent("thread:changed", { bubbles: true }));
  const found = place(frame);
  if (!found) return event.preventDefault();
  event.detail.message.data = JSON.stringify({ content: frame.content, target: `#${found.target.id}`, swap: found.swap });
});

// The answer to a form brings the person's message too; the socket may have been faster.
document.addEventListener("htmx:before:swap", ({ detail: { tasks } }) => {
  for (const { target, swapSpec, fragment } of tasks) {
    if (target?.id !== "timeline" || swapSpec.style !== "beforeend") continue;
    for (const item of [...fragment.children]) if (document.getElementById(item.id)) item.remove();
  }
});
