// What expires says how long it still has, second by second, by the server's clock.
const head = document.querySelector("[data-now]");
const ahead = head ? Date.now() - Date.parse(head.dataset.now) : 0; // ms, of this machine's clock
const DAY = 86400; // seconds

function left(seconds) {
  if (seconds >= 2 * DAY) {
    const days = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: "day", unitDisplay: "long" });
    return days.format(Math.floor(seconds / DAY));
  }
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

function tick() {
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const seconds = Math.floor((Date.parse(time.dateTime) - (Date.now() - ahead)) / 1000);
    const text = seconds > 0 ? time.dataset.countdown.replace("{time}", left(seconds)) : time.dataset.over;
    if (time.textContent !== text) time.textContent = text;
    time.classList.toggle("expiry--soon", seconds < 300);
  }
}

tick();
setInterval(tick, 1000);
