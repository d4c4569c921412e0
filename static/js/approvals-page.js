// The decision page says so when somebody else was faster, and follows what comes of a decision.
const page = document.querySelector(".decision");
const meanwhile = document.getElementById("meanwhile");

function close(fresh) {
  page.dataset.status = fresh.dataset.status;
  for (const button of page.querySelectorAll(".decide button, .decide textarea, .decide input, .decide select")) {
    button.disabled = true;
  }
  const summary = document.createElement("p");
  summary.textContent = fresh.querySelector("#decided-summary")?.textContent ?? "";
  const link = document.createElement("a");
  link.href = page.dataset.page;
  link.textContent = meanwhile.dataset.link;
  meanwhile.replaceChildren(meanwhile.dataset.text, summary, link);
  meanwhile.hidden = false;
}

// The list alone: what somebody is just writing stays.
function hear(fresh) {
  const [old, now] = [page, fresh].map((root) => root.querySelector("#comment-list"));
  if (old && now && old.innerHTML !== now.innerHTML) old.replaceChildren(...now.childNodes);
}

async function look() {
  const response = await fetch(page.dataset.page, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!response?.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector(".decision");
  if (!fresh) return;
  const isOpen = page.querySelector(".decide") !== null;
  if (isOpen && page.dataset.status === "pending" && fresh.dataset.status !== "pending") close(fresh);
  const [old, now] = [page, fresh].map((root) => root.querySelector("#decided"));
  if (old && now && old.innerHTML !== now.innerHTML) old.replaceChildren(...now.childNodes);
  hear(fresh);
}

document.addEventListener("approvals:changed", look);
