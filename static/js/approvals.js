// The badge in the admin's header: how many requests wait for me, as soon as that changes.
// Other modules listen to the event "approvals:changed".
const FIRST_DELAY = 1000; // ms
const LONGEST_DELAY = 30000;
const SILENCE = 40000; // the server says something every 15 s
const SIGNED_OUT = [4401, 4403];

const link = document.getElementById("approvals-link");
const status = document.getElementById("approvals-status");
const connection = document.getElementById("approvals-connection");
const title = document.title;
let delay = FIRST_DELAY;
let silence = 0;

function show(waiting) {
  const badge = link.querySelector(".badge");
  badge.hidden = waiting === 0;
  badge.querySelector("[data-count]").textContent = waiting;
  for (const other of document.querySelectorAll("[data-waiting-badge]")) {
    other.hidden = waiting === 0;
    other.textContent = waiting;
  }
  document.title = waiting ? `(${waiting}) ${title}` : title;
  if (Number(link.dataset.waiting) !== waiting) {
    status.textContent = link.dataset.text.replace("{count}", waiting);
  }
  link.dataset.waiting = waiting;
}

function say(text) {
  connection.textContent = text;
  connection.hidden = !text;
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}${link.dataset.socket}`);
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => socket.close(), SILENCE);
  };
  socket.addEventListener("open", listen);
  socket.addEventListener("message", (event) => {
    const { waiting, changed } = JSON.parse(event.data);
    delay = FIRST_DELAY;
    listen();
    say("");
    show(waiting);
    if (changed) document.dispatchEvent(new CustomEvent("approvals:changed"));
  });
  socket.addEventListener("close", (event) => {
    clearTimeout(silence);
    if (SIGNED_OUT.includes(event.code)) return say(link.dataset.signedOut);
    if (delay > FIRST_DELAY) say(link.dataset.offline); // a single hiccup is nobody's business
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(delay * 2, LONGEST_DELAY);
  });
}

if (link) {
  show(Number(link.dataset.waiting));
  connect();
}
