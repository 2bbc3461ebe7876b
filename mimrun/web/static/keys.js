/* Keys: the console without a mouse.
 *
 *   g n / g i / g r / g a / g l   go to Now, Incidents, Runbooks, Alerts, Log   (links with data-key in the navigation)
 *   /                             search                                        ([data-search])
 *   j / k, Enter                  next and previous in a list                   ([data-row], whose first link it is)
 *   [data-key="x"]                a page's own key: presses that link or button, or puts the cursor into that field
 *   ?                             what keys there are                           (<dialog id="keys">)
 *
 * Never while somebody types, and never with Ctrl, Alt or Meta.
 */
"use strict";
(() => {
  const TYPED = "input, select, textarea, [contenteditable]";
  let prefix = 0;

  const rows = () => [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
  const linkOf = (row) => (row.matches("a") ? row : row.querySelector("a, button, summary"));

  const move = (by) => {
    const all = rows();
    if (!all.length) return false;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
    const link = linkOf(all[next]);
    if (link) link.focus();
    all[next].scrollIntoView({block: "nearest"});
    return true;
  };

  const press = (key) => {
    const one = document.querySelector('[data-key="' + CSS.escape(key) + '"]');
    if (!one) return false;
    if (one.matches(TYPED)) { one.focus(); if (one.select) one.select(); } else one.click();
    return true;
  };

  const help = () => {
    const dialog = document.getElementById("keys");
    if (!dialog) return false;
    if (dialog.open) dialog.close(); else dialog.showModal();
    return true;
  };

  const act = (key) => {
    if (Date.now() - prefix < 1500) { prefix = 0; return press("g " + key); }
    switch (key) {
      case "g": prefix = Date.now(); return false;
      case "j": return move(1) || press("j");
      case "k": return move(-1) || press("k");
      case "?": return help();
      case "/": {
        const found = [...document.querySelectorAll("[data-search]")].find((one) => one.offsetParent !== null);
        if (found) { found.focus(); found.select(); return true; }
        return press("g l");
      }
      default: return press(key);
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat && event.key !== "j" && event.key !== "k") return;
    const typing = event.target instanceof Element && event.target.closest(TYPED);
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    if (document.querySelector("dialog[open]") && event.key !== "?") return;
    if (event.key.length === 1 && act(event.key)) event.preventDefault();
  });

  for (const one of document.querySelectorAll("[data-keys-help]")) {
    one.hidden = false;
    one.addEventListener("click", help);
  }

  /* What is wider than its card scrolls there: by keyboard, too. */
  const reach = () => {
    for (const card of document.querySelectorAll(".card")) {
      if (card.scrollWidth > card.clientWidth + 1) card.tabIndex = 0; else card.removeAttribute("tabindex");
    }
  };
  reach();
  addEventListener("resize", reach);
  document.body.addEventListener("htmx:afterSettle", reach);

  /* A menu closes when somebody clicks or tabs elsewhere, and by Escape. */
  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(except)) menu.open = false;
  };
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenus(null); });
})();
