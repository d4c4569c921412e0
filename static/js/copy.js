// Buttons that copy an answer, or one piece of code in it.

function button(className, label, done, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = `button ${className}`;
  made.textContent = label;
  made.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    made.textContent = done;
    setTimeout(() => { made.textContent = label; }, 1500);
  });
  return made;
}

function equip(prose) {
  const { copyable, copied } = prose.dataset;
  prose.removeAttribute("data-copyable");
  for (const block of prose.querySelectorAll("pre")) {
    const code = block.querySelector("code") ?? block;
    block.tabIndex = 0; // what scrolls sideways must scroll by keyboard
    block.append(button("code-copy", copyable, copied, () => code.textContent));
  }
  const text = prose.innerText;
  prose.after(button("message__copy", copyable, copied, () => text));
}

function equipAll() {
  for (const prose of document.querySelectorAll("[data-copyable]")) equip(prose);
}

if (navigator.clipboard) {
  new MutationObserver(equipAll).observe(document.querySelector("#scroller"), { childList: true, subtree: true });
  equipAll();
}
