// The queue and the decision page by keyboard. No single key decides: a, e and r only lead to their box.
const ON = "countersign-keys"; // where the browser keeps that somebody switched single keys off
const BOXES = { a: "approve", e: "edit", r: "reject" };

const list = document.getElementById("changelist-form");
const page = document.querySelector(".decision");
const dialog = document.getElementById("keys");
const toggle = document.getElementById("keys-on");

const rows = () => [...list.querySelectorAll("#result_list tbody tr")];
const linkOf = (row) => row?.querySelector("th a");
const current = () => document.activeElement.closest?.("#result_list tbody tr") ?? null;

function move(step) {
  const all = rows();
  const at = all.indexOf(current());
  const link = linkOf(all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step]);
  link?.focus();
  link?.closest("tr").scrollIntoView({ block: "nearest" });
}

function open(hash = "") {
  const link = linkOf(current() ?? rows()[0]);
  if (link) location.assign(link.href + hash);
}

function select() {
  const row = current();
  row?.querySelector("input.action-select")?.click();
  linkOf(row)?.focus({ preventScroll: true }); // the next j goes on from here
}

function search() {
  const box = document.getElementById("searchbar");
  box?.focus();
  box?.select();
}

// The box of a decision: what its button is in.
function boxOf(decision) {
  return page.querySelector(`.decide button[value="${decision}"]`)?.closest("details, .decide__first") ?? null;
}

function enter(decision) {
  const box = boxOf(decision);
  if (!box) return;
  if (box.matches("details")) box.open = true;
  const field = box.querySelector("textarea, input:not([type=hidden]), select") ?? box.querySelector("button");
  field.focus();
  box.scrollIntoView({ block: "nearest" });
}

function send(field) {
  const box = field.closest(".decide details, .decide__first, .comment");
  box?.querySelector("button[type=submit]:not([disabled])")?.click();
}

const onList = {
  j: () => move(1),
  k: () => move(-1),
  o: () => open(),
  x: select,
  "/": search,
  ...Object.fromEntries(Object.entries(BOXES).map(([key, box]) => [key, () => open(`#${box}`)])),
};
const onPage = {
  c: () => page.querySelector(".comment textarea")?.focus(),
  u: () => location.assign(page.dataset.queue),
  ...Object.fromEntries(Object.entries(BOXES).map(([key, box]) => [key, () => enter(box)])),
};
const keys = { ...(list ? onList : onPage), "?": () => dialog.showModal() };

function isTyping(target) {
  return target.closest("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio])") !== null;
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.defaultPrevented || event.altKey || dialog.open) return;
  if (page && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (!event.repeat) send(event.target);
    return;
  }
  if (event.ctrlKey || event.metaKey || isTyping(event.target)) return;
  if (!toggle.checked && event.key !== "?") return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

toggle.checked = localStorage.getItem(ON) !== "off";
toggle.addEventListener("change", () => localStorage.setItem(ON, toggle.checked ? "on" : "off"));
if (page && Object.values(BOXES).includes(location.hash.slice(1))) enter(location.hash.slice(1));
