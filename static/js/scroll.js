// Follows the end of the timeline for as long as the reader is there; else says that there is more.

const NEAR = 64; // px from the end that still count as being there

const scroller = document.querySelector("#scroller");
const toEnd = document.querySelector("#to-end");
let isFollowing = true;

const distance = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

function follow() {
  scroller.scrollTop = scroller.scrollHeight;
  toEnd.hidden = true;
  isFollowing = true;
}

scroller.addEventListener("scroll", () => {
  isFollowing = distance() < NEAR;
  if (isFollowing) toEnd.hidden = true;
}, { passive: true });

const changed = () => {
  if (isFollowing) follow();
  else toEnd.hidden = distance() < NEAR;
};
new MutationObserver(changed).observe(scroller, { childList: true, subtree: true, characterData: true });
new ResizeObserver(() => { if (isFollowing) follow(); }).observe(scroller);

toEnd.addEventListener("click", () => {
  follow();
  document.querySelector("#text").focus();
});
document.addEventListener("submit", (event) => { if (event.target.id === "message-form") follow(); });

follow();
