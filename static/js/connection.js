// Says when the page is cut off from the server, and notices when it is without having been told.

const SILENCE = 17000; // ms without a beat (the server sends one every 5 s) until a connection counts as dead
const SHOWN = 2500; // ms for which "Caught up" stays
const ENDS = { 4401: "signedOut", 4404: "gone", 4429: "tooMany" };

const thread = document.querySelector("#thread");
const banner = document.querySelector("#connection");
let socket = null;
let heard = Date.now();
let isLost = false;

function show(text, isBack = false) {
  banner.textContent = text;
  banner.classList.toggle("connection--back", isBack);
  banner.hidden = false;
}

thread.addEventListener("htmx:ws:after:connection", ({ detail }) => {
  socket = detail.connection.socket;
  heard = Date.now();
  if (!isLost) return;
  isLost = false;
  show(banner.dataset.back, true);
  setTimeout(() => { banner.hidden ||= !isLost; }, SHOWN);
});

thread.addEventListener("htmx:ws:close", ({ detail }) => {
  if (detail.code === 1000 || detail.reason !== "closed") return;
  const end = ENDS[detail.code];
  if (!isLost || end) show(banner.dataset[end ?? "lost"]);
  isLost = true;
});

thread.addEventListener("thread:frame", () => { heard = Date.now(); });

function checkPulse() {
  if (socket?.readyState === WebSocket.OPEN && Date.now() - heard > SILENCE) socket.close(4000, "silent");
}

setInterval(checkPulse, 2000);
document.addEventListener("visibilitychange", checkPulse);
window.addEventListener("online", checkPulse);

// A page brought back by the browser has no socket any more.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
