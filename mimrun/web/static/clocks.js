/* Clocks: <time data-clock="up" datetime="..."> shows how long ago that was, "down" how long it is until then,
 * "at" what time it is.
 *
 * They tick once a second by the server's clock: <body data-now="..."> is when the page was made. A "down" that has
 * passed counts on with "late by". Words are those of mimrun.web.words.duration.
 */
"use strict";
(() => {
  const off = Date.parse(document.body.dataset.now || "") - Date.now() || 0;
  const duration = (seconds) => {
    const whole = Math.max(Math.floor(seconds), 0);
    const parts = [
      [Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"],
    ];
    const first = parts.findIndex(([count]) => count);
    if (first < 0) return "0 s";
    return parts.slice(first, first + 2).filter(([count]) => count).map(([count, unit]) => count + " " + unit).join(" ");
  };

  const tick = () => {
    const now = Date.now() + off;
    for (const one of document.querySelectorAll("time[data-clock]")) {
      const at = Date.parse(one.dateTime);
      if (Number.isNaN(at)) continue;
      if (one.dataset.clock === "at") {
        const text = new Date(now).toISOString().slice(11, 16) + " UTC";
        if (one.textContent !== text) one.textContent = text;
        continue;
      }
      const left = one.dataset.clock === "down" ? at - now : now - at;
      const text = one.dataset.clock === "down" && left < 0 ? "late by " + duration(-left / 1000) : duration(left / 1000);
      if (one.textContent !== text) one.textContent = text;
    }
  };
  tick();
  setInterval(tick, 1000);
  document.body.addEventListener("htmx:afterSettle", tick);
})();
