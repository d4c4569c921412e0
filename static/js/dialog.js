// Shows a dialog in place of the page that a link leads to, and closes it.

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  const closer = event.target.closest("[data-dialog-close]");
  const dialog = opener ? document.getElementById(opener.dataset.dialog) : closer?.closest("dialog");
  if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (opener) dialog.showModal();
  else dialog.close();
});
