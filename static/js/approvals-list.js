// The queue keeps itself up to date: the same page is fetched and its rows put in place of the old ones.
// What is ticked stays ticked, the chosen action stays chosen, the focus stays on its request, and what is in sight
// stays where it is.
const EVERY = 60000; // ms, so that "3 minutes ago" does not grow stale

const form = document.getElementById("changelist-form");
const rowsOf = (root) => root.querySelector("#result_list tbody")?.innerHTML ?? "";
let rows = rowsOf(form);
let isFetching = false;
let isStale = false;

const trs = () => [...form.querySelectorAll("#result_list tbody tr")];
const keyOf = (row) => row.querySelector("th a")?.getAttribute("href");

// The first request that is in sight, and where it is.
function anchor() {
  const row = trs().find((each) => each.getBoundingClientRect().bottom > 0);
  return row ? { key: keyOf(row), top: row.getBoundingClientRect().top } : null;
}

function remember() {
  const active = document.activeElement;
  return {
    anchor: window.scrollY > 0 ? anchor() : null,
    index: trs().indexOf(active.closest("tr")),
    ticked: new Set([...form.querySelectorAll("input.action-select:checked")].map((box) => box.value)),
    action: form.querySelector("select[name=action]")?.value ?? "",
    focus: form.contains(active) ? ["id", "name", "value", "href"].map((name) => [name, active.getAttribute(name)]) : [],
  };
}

function focusAgain(focus, index) {
  const selector = focus.filter(([, value]) => value).map(([name, value]) => `[${name}="${CSS.escape(value)}"]`);
  if (!selector.length) return;
  const same = form.querySelector(selector.join(""));
  const next = index < 0 ? null : trs()[Math.min(index, trs().length - 1)]?.querySelector("th a");
  (same ?? next)?.focus({ preventScroll: true }); // the request is gone: its place in the list
}

function restore({ ticked, action, focus, index, anchor: before }) {
  for (const box of form.querySelectorAll("input.action-select")) {
    box.checked = ticked.has(box.value);
    box.closest("tr").classList.toggle("selected", box.checked);
  }
  const select = form.querySelector("select[name=action]");
  if (select) select.value = action;
  focusAgain(focus, index);
  const row = before && trs().find((each) => keyOf(each) === before.key);
  if (row) window.scrollBy({ top: row.getBoundingClientRect().top - before.top, behavior: "instant" });
}

function replace(fresh) {
  if (rowsOf(fresh) === rows) return;
  rows = rowsOf(fresh);
  const before = remember();
  form.replaceChildren(...fresh.childNodes);
  restore(before);
  const boxes = form.querySelectorAll("tr input.action-select");
  if (boxes.length && window.Actions) window.Actions(boxes);
}

async function load() {
  // "Select all 300" is about the list as it was when that was pressed.
  if (form.querySelector("input.select-across")?.value === "1") return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return; // the next notice or the next minute tries again
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("changelist-form");
  if (fresh) replace(fresh);
  else location.reload(); // signed out
}

async function refresh() {
  isStale = true;
  if (isFetching) return;
  isFetching = true;
  while (isStale) {
    isStale = false;
    await load();
  }
  isFetching = false;
}

document.addEventListener("approvals:changed", refresh);
setInterval(refresh, EVERY);
