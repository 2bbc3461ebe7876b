/* Live: tells the page when the log has grown.
 *
 * <body data-live="/events?incident=INC" data-after="SEQ"> opens the stream behind SEQ. What comes is gathered for half a
 * second and then told once, as the DOM event "log" on <body> with detail {seq, kinds, runs, incidents}: a fragment
 * with hx-trigger="log from:body" loads itself again, and misses nothing. After a break, or while nobody looks at the
 * page, it goes on behind the last entry that it saw. The sign [data-live-sign] says "live" or "reconnecting". Without
 * this script a page is what it was when it was loaded.
 *
 * A fragment that loads itself again keeps where the cursor was, and which folds (<details id="...">) were open.
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

  /* What a person was at when a fragment was replaced. */
  let kept = null;
  body.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail && event.detail.target, active = document.activeElement;
    if (!target) return;
    kept = {
      open: [...document.querySelectorAll("details[id][open]")].map((one) => one.id),
      link: target.contains(active) && active.matches("a[href]") ? active.getAttribute("href") : "",
    };
  });
  body.addEventListener("htmx:afterSettle", () => {
    if (!kept) return;
    for (const id of kept.open) {
      const fold = document.getElementById(id);
      if (fold) fold.open = true;
    }
    if (kept.link && (!document.activeElement || document.activeElement === body)) {
      const link = document.querySelector('a[href="' + CSS.escape(kept.link) + '"]');
      if (link) link.focus({preventScroll: true});
    }
    kept = null;
  });
})();
