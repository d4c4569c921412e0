// Under each argument that an approver changes: the value as it stands, with what goes and what comes marked.
const SHAPELESS = /[^\P{C}\n]|[\p{Zl}\p{Zp}]|[^\P{Zs} ]|[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f]/gu;

function visible(text) {
  return text.replace(SHAPELESS, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

// The text as [kept, removed, added, kept].
function compared(before, after) {
  const [old, now] = [[...before], [...after]];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < Math.min(old.length, now.length) - start && old.at(-1 - end) === now.at(-1 - end)) end += 1;
  const cut = (text) => text.slice(start, text.length - end).join("");
  return [old.slice(0, start).join(""), cut(old), cut(now), old.slice(old.length - end).join("")];
}

function part(name, text) {
  const element = document.createElement(name);
  element.textContent = visible(text);
  return element;
}

function show(field) {
  const change = field.querySelector(".change");
  const input = field.querySelector("input, textarea, select");
  const before = JSON.parse(change.dataset.original); // as JSON: nothing unseen in the page
  const now = input.value.replaceAll("\r\n", "\n");
  change.hidden = now === before;
  if (change.hidden) return;
  const [start, removed, added, end] = compared(before, now);
  const parts = [part("span", start), part("del", removed), part("ins", added), part("span", end)];
  change.querySelector("code").replaceChildren(...parts.filter((each) => each.textContent));
}

const fields = [...document.querySelectorAll(".field")].filter((field) => field.querySelector(".change"));
const refresh = () => fields.forEach(show);
for (const field of fields) field.addEventListener("input", () => show(field));
for (const form of document.querySelectorAll(".decide")) form.addEventListener("reset", () => setTimeout(refresh));
refresh();
