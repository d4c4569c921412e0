// Keys of the composer, and what is typed in it: Enter sends, Shift+Enter begins a line, Escape stops the answer.

const field = () => document.querySelector("#text");
const growsByItself = CSS.supports("field-sizing", "content");

function grow() {
  if (growsByItself) return;
  field().style.height = "auto";
  field().style.height = `${field().scrollHeight}px`;
}

// Enter that picks a word in an input method is not the end of a message; Safari tells it by 229 alone.
const isComposing = (event) => event.isComposing || event.keyCode === 229;

document.addEventListener("keydown", (event) => {
  if (event.target.id !== "text" || event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
  event.preventDefault();
  if (!event.target.readOnly && event.target.value.trim()) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || isComposing(event) || document.querySelector("dialog[open], :popover-open")) return;
  document.querySelector("#stop-form")?.requestSubmit();
});

document.addEventListener("input", (event) => { if (event.target.id === "text") grow(); });

// A message leaves the field when the server has it, and only as much as was sent.
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx.sourceElement.id !== "message-form" || ctx.response.status >= 400 || ctx.hx.redirect) return;
  const sent = new URLSearchParams(ctx.request.body).get("text") ?? "";
  if (field().value.replaceAll("\r\n", "\n").startsWith(sent.replaceAll("\r\n", "\n"))) {
    field().value = field().value.slice(sent.replaceAll("\r\n", "\n").length);
  }
  field().focus();
  grow();
});

function sayUnsent() {
  const banner = document.querySelector("#connection");
  if (!banner) return;
  banner.textContent = banner.dataset.unsent;
  banner.classList.remove("connection--back");
  banner.hidden = false;
}

// 409 and 422 bring the composer with the reason in it; of anything else the person hears here.
document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
  if (![409, 422].includes(ctx.response.status) && ctx.request.method === "POST") sayUnsent();
});
document.addEventListener("htmx:error", ({ detail: { ctx } }) => { if (ctx?.request?.method === "POST") sayUnsent(); });

if (field()?.form && matchMedia("(hover: hover)").matches) field().focus({ preventScroll: true });
