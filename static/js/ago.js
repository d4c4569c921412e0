// Moments as people say them, "5 minutes ago", kept true while the page is open. Without this the moment itself stands.
const EVERY = 5000; // ms
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

const words = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });

function say(time) {
  const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  const said = words.format(Math.trunc(seconds / length), unit);
  if (time.textContent !== said) time.textContent = said;
}

function sayAll() {
  document.querySelectorAll("time[data-ago]").forEach(say);
}

sayAll();
setInterval(sayAll, EVERY);
