/* Live: tells the page when the log has grown.
 *
 * <body data-live="/events?incident=INC" data-after="SEQ"> opens the stream behind SEQ. What comes is gathered for half a
 * second and then told once, as the DOM event "log" on <body> with detail {seq, kinds, runs, incidents}: a fragment
 * with hx-trigger="log from:body" loads itself again, and misses nothing. After a break, or while nobody looks at the
 * page, it goes on behind the last entry that it saw. The sign [data-live-sign] says "live" or "reconnecting". Without
 * this script a page is what it was when it was loaded.
 *
 * A fragment that loads itself again keeps where the cursor was, which folds (<details id="...">) were open, and what
 * is read where it stands: what was the first thing with an id in the window (a row, a card) stays at its height.
 */
"use strict";
(() => {
  const GATHER_MS = 500, FIRST_MS = 1000, LONGEST_MS = 15000;
  const body = document.body, path = body.dataset.live;
  const sign = document.querySelector("[data-live-sign]");
  let last = Number(body.dataset.after || 0), source = null, wait = FIRST_MS, timer = 0;
  let gathered = null;

  const show = (state) => {
    if (!sign) return;
    sign.hidden = false;
    sign.dataset.state = state;
    sign.textContent = state;
  };

  const tell = () => {
    const detail = {seq: last, kinds: [...gathered.kinds], runs: [...gathered.runs], incidents: [...gathered.incidents]};
    gathered = null;
    body.dispatchEvent(new CustomEvent("log", {detail, bubbles: true}));
  };

  const take = (event) => {
    let said = {};
    try { said = JSON.parse(event.data); } catch { return; }
    last = Math.max(last, Number(said.seq) || Number(event.lastEventId) || 0);
    if (!gathered) {
      gathered = {kinds: new Set(), runs: new Set(), incidents: new Set()};
      setTimeout(tell, GATHER_MS);
    }
    for (const name of ["kinds", "runs", "incidents"]) for (const one of said[name] || []) gathered[name].add(one);
  };

  const open = () => {
    clearTimeout(timer);
    const url = new URL(path, location.href);
    url.searchParams.set("after", String(last));
    source = new EventSource(url);
    source.addEventListener("open", () => { wait = FIRST_MS; show("live"); });
    source.addEventListener("log", take);
    source.addEventListener("error", () => {
      show("reconnecting");
      // By itself it comes back only after a break, not after a refusal; we ask again for both.
      source.close();
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 2, LONGEST_MS);
    });
  };

  /* A fragment that cannot be loaded says so, instead of standing there as if it were of now. */
  const failed = (event) => {
    const place = document.getElementById("trouble");
    if (!place) return;
    const code = event.detail && event.detail.xhr ? event.detail.xhr.status : 0;
    place.querySelector("[data-why]").textContent = code === 401
      ? "You are not signed in any more. Sign in again; nothing is lost."
      : "A part of this page could not be loaded anew" + (code ? " (" + code + ")" : "") + ". What you see may be old; load the page again.";
    place.hidden = false;
  };
  body.addEventListener("htmx:responseError", failed);
  body.addEventListener("htmx:sendError", failed);
  body.addEventListener("htmx:afterOnLoad", (event) => {
    const place = document.getElementById("trouble");
    if (place && event.detail && event.detail.successful) place.hidden = true;
  });

  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  };

  if (path && "EventSource" in window) {
    if (!document.hidden) open();
    // A browser has few connections to one server: pages that nobody looks at give theirs back.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) close(); else if (!source) { wait = FIRST_MS; open(); }
    });
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted && !source) open(); });
  }

  /* What a person was at when fragments were replaced: where the cursor was, what was open, and what they read. */
  const open_ = new Set();
  let cursor = "", read = null;
  const quoted = (text) => '"' + CSS.escape(text) + '"';
  const placeOf = (one) => {
    const around = one.parentElement?.closest("[id]"), within = around ? "#" + CSS.escape(around.id) + " " : "";
    if (one.matches("a[href]")) return within + "a[href=" + quoted(one.getAttribute("href")) + "]";
    if (one.matches("details[id] > summary")) return "#" + CSS.escape(one.parentElement.id) + " > summary";
    return one.id ? "#" + CSS.escape(one.id) : "";
  };
  const topOf = (id) => document.getElementById(id)?.getBoundingClientRect().top;
  const firstRead = () => {
    const one = scrollY > 0 && [...document.querySelectorAll("main li[id], main tr[id], main section[id]")].find((each) => each.getBoundingClientRect().top >= 0);
    return one ? {id: one.id, top: topOf(one.id)} : null;
  };
  body.addEventListener("htmx:beforeSwap", (event) => {
    const active = document.activeElement;
    if (!event.detail?.target || !event.detail.shouldSwap) return;
    for (const one of document.querySelectorAll("details[id][open]")) open_.add(one.id);
    if (active && active !== body) cursor = placeOf(active);
    read ||= firstRead();
  });
  body.addEventListener("htmx:afterSettle", () => {
    for (const id of open_) {
      const fold = document.getElementById(id);
      if (fold) fold.open = true;
    }
    const place = cursor && (!document.activeElement || document.activeElement === body) && document.querySelector(cursor);
    if (place) place.focus({preventScroll: true});
    const top = read ? topOf(read.id) : undefined;
    if (top !== undefined && Math.abs(top - read.top) > 1) scrollBy({top: top - read.top, behavior: "instant"});
    open_.clear();
    cursor = "";
    read = null;
  });
})();
