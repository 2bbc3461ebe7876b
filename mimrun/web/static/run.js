/* Run: what a step said opens above the page, and what somebody is typing is not taken from under their hands.
 *
 * A link with data-peek opens its page in <dialog id="peek">; with a modifier key, and without this script, it is a link.
 * A fragment with data-keep-typed is not replaced while a field in it holds what somebody typed: it says so instead.
 */
"use strict";
(() => {
  const dialog = document.getElementById("peek"), body = document.getElementById("peek-body");

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[data-peek]");
    if (!link || !dialog || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    window.htmx.ajax("GET", link.getAttribute("href"), {target: body, swap: "innerHTML"}).then(() => {
      if (!dialog.open) dialog.showModal();
      dialog.scrollTop = 0;
    });
  });
  if (dialog) dialog.addEventListener("close", () => body.replaceChildren());

  const typed = (place) => [...place.querySelectorAll("input, textarea, select")].some((one) => {
    if (one.type === "hidden" || one.disabled) return false;
    if (one.type === "checkbox" || one.type === "radio") return one.checked !== one.defaultChecked;
    if (one.type === "file") return one.files.length > 0;
    if (one.tagName === "SELECT") return [...one.options].some((option) => option.selected !== option.defaultSelected) && one.selectedIndex > 0;
    return one.value !== one.defaultValue;
  });

  document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
    const place = event.detail.target;
    if (!place.matches("[data-keep-typed]") || !typed(place)) return;
    event.detail.shouldSwap = false;
    if (place.querySelector("[data-changed]")) return;
    const note = document.createElement("p");
    note.className = "notice wait";
    note.setAttribute("role", "alert");
    note.dataset.changed = "";
    note.textContent = "This has changed since. What you typed is kept; load the page again to see what is asked now.";
    place.prepend(note);
  });
})();
