/* Replay: a finger on any moment of a run.
 *
 * The page shows one moment. This script loads all of them (data-frames of #scrubber, some thousands at once) and shows
 * any, forwards and backwards, by the range, by keys and by playing in time. What changed is all that a moment has, so
 * that the board of every 500th one is kept. Without it the page has links, and a field for the number.
 */
"use strict";

/* To decide a long run again takes some seconds, in which a browser shows nothing. */
(() => {
  const note = document.querySelector("[data-slow-note]");
  if (!note) return;
  const say = () => { note.textContent = "It is decided again, entry by entry; of a long run that takes some seconds. The answer comes by itself."; };
  for (const one of document.querySelectorAll("a[data-slow]")) one.addEventListener("click", (event) => { if (!event.ctrlKey && !event.metaKey && !event.shiftKey) say(); });
  for (const one of document.querySelectorAll("form[data-slow]")) one.addEventListener("submit", say);
  addEventListener("pageshow", () => { note.textContent = ""; });
})();

(() => {
  const place = document.getElementById("scrubber");
  if (!place) return;
  const EVERY = 500, LONGEST_MS = 1500, SHORTEST_MS = 30;
  const find = (name) => place.querySelector("[data-" + name + "]");
  const range = find("range"), play = find("play"), speed = find("speed");
  const rows = new Map([...document.querySelectorAll("#replay-board [data-path]")].map((row) => [row.dataset.path, row]));
  const list = document.querySelector("[data-moments]"), LISTED = 100;
  let links = new Map([...list.querySelectorAll("[data-moment]")].map((link) => [Number(link.dataset.moment), link.closest("li")]));
  const count = Number(place.dataset.count);
  let frames = [], words = {}, hosts = {}, at = Number(place.dataset.at), board = new Map(), shownAt = -1, timer = 0;
  const kept = [];

  const took = (seconds) => {
    if (seconds < 10) return seconds.toFixed(1) + " s";
    const whole = Math.floor(seconds), parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
    const first = parts.findIndex(([number]) => number);
    return parts.slice(first, first + 2).filter(([number]) => number).map(([number, unit]) => number + " " + unit).join(" ") || "0 s";
  };
  const known = (word) => words[word] || ["calm", "·", word.replaceAll("_", " ")];
  const element = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const badge = (word) => {
    const [tone, sign, text] = known(word), made = element("span", "badge " + tone), mark = element("span", "sign", sign);
    mark.setAttribute("aria-hidden", "true");
    made.append(mark, word === "ready" ? "not begun" : text);
    return made;
  };

  const apply = (to, changes) => {
    for (const [step, target, word] of changes) {
      if (!to.has(step)) to.set(step, new Map());
      to.get(step).set(target, word);
    }
  };
  const copy = (from) => new Map([...from].map(([step, targets]) => [step, new Map(targets)]));

  /* Puts the board of a moment together, from the one before where that is near, else from one that was kept. */
  const boardAt = (number) => {
    let from = shownAt, base = board;
    const near = kept[Math.min(Math.floor(number / EVERY), kept.length - 1)];
    if (from > number || from < 0 || (near && near.at > from)) { from = near ? near.at : -1; base = near ? copy(near.board) : new Map(); }
    const dirty = base === board ? new Set() : null;
    for (let one = from + 1; one <= number; one++) {
      apply(base, frames[one][6]);
      if (dirty) for (const [step] of frames[one][6]) dirty.add(step);
    }
    board = base;
    shownAt = number;
    return dirty || new Set(rows.keys());
  };

  const showRow = (path) => {
    const row = rows.get(path);
    if (!row) return;
    const targets = board.get(path) || new Map(), counted = new Map();
    for (const [target, word] of targets) if (target) counted.set(word, (counted.get(word) || 0) + 1);
    const named = [...counted.values()].reduce((sum, one) => sum + one, 0), left = (hosts[path] || 0) - named;
    if (named && left > 0) counted.set("ready", (counted.get("ready") || 0) + left);
    const word = row.querySelector("[data-word]");
    if (word) word.replaceChildren(badge(targets.get("") || (named ? "running" : "ready")));
    const order = Object.keys(words).reverse();
    row.querySelector("[data-counts]").replaceChildren(...[...counted].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)).map(([word, number]) => {
      const [tone, sign, text] = known(word), made = element("span", "tone " + tone), mark = element("span", "", sign);
      mark.setAttribute("aria-hidden", "true");
      made.append(mark, " " + number + " " + (word === "ready" ? "not begun" : text));
      return made;
    }));
  };

  /* Lists the moments around one, where those that are listed are others. */
  const listAround = (number) => {
    const first = Math.max(Math.min(number - LISTED / 2, frames.length - LISTED), 0), last = Math.min(first + LISTED, frames.length);
    links = new Map();
    for (let one = first; one < last; one++) {
      const [offset, , seq, text, who] = frames[one], item = element("li"), link = element("a", "", text), said = element("span", "said"), entry = element("a", "", "#" + seq), more = element("span", "more"), sign = element("span", "sign", "·");
      item.id = "m" + one;
      link.href = "?at=" + one + "#m" + one;
      link.dataset.moment = String(one);
      entry.href = "/log/" + seq;
      entry.title = "Entry " + seq + " of the log";
      sign.setAttribute("aria-hidden", "true");
      said.append(link, " ", element("span", "who", who));
      more.append(entry);
      item.append(element("span", "at", "+" + took(offset / 1000)), sign, said, more);
      links.set(one, item);
    }
    list.replaceChildren(...links.values());
  };
  const mark = (number) => {
    if (!links.has(number)) listAround(number);
    const box = document.querySelector("[data-scroll]"), here = links.get(number);
    for (const [one, item] of links) {
      item.classList.toggle("now", one === number);
      if (one === number) item.setAttribute("aria-current", "true"); else item.removeAttribute("aria-current");
    }
    if (box && here) {
      const top = here.offsetTop - list.offsetTop;
      if (top < box.scrollTop || top + here.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
    }
  };

  const show = (number) => {
    at = Math.min(Math.max(number, 0), frames.length - 1);
    const [offset, moment, , text, who, status] = frames[at];
    for (const path of boardAt(at)) showRow(path);
    range.value = String(at);
    range.setAttribute("aria-valuetext", "+" + took(offset / 1000) + ": " + text);
    find("offset").textContent = took(offset / 1000);
    find("number").textContent = String(at);
    find("at-time").textContent = moment.slice(0, 19).replace("T", " ");
    find("who").textContent = who;
    find("text").textContent = text;
    find("run-status").replaceChildren(badge(status));
    mark(at);
  };

  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    play.textContent = "Play";
    find("text").parentElement.querySelector("[aria-live]").setAttribute("aria-live", "polite");
  };
  const next = () => {
    if (at >= frames.length - 1) { stop(); return; }
    show(at + 1);
    if (at >= frames.length - 1) { stop(); return; }
    const wait = (frames[at + 1][0] - frames[at][0]) / Number(speed.value);
    timer = setTimeout(next, Math.min(Math.max(wait, SHORTEST_MS), LONGEST_MS));
  };
  const toggle = () => {
    if (timer) { stop(); return; }
    if (at >= frames.length - 1) show(0);
    play.textContent = "Stop";
    // Nobody wants every moment of a film read out.
    find("text").parentElement.querySelector("[aria-live]").setAttribute("aria-live", "off");
    timer = setTimeout(next, SHORTEST_MS);
  };

  const load = async () => {
    while (frames.length < count) {
      const url = new URL(place.dataset.frames, location.href);
      url.searchParams.set("after", String(frames.length));
      const answer = await fetch(url, {headers: {accept: "application/json"}});
      if (!answer.ok) throw new Error(String(answer.status));
      const said = await answer.json();
      if (!said.frames.length) break;
      if (said.words) { words = said.words; hosts = said.hosts; }
      frames = frames.concat(said.frames);
    }
    const built = new Map();
    frames.forEach((frame, number) => {
      apply(built, frame[6]);
      if (number % EVERY === 0) kept.push({at: number, board: copy(built)});
    });
  };

  load().then(() => {
    if (!frames.length) return;
    place.querySelector("[data-with-script]").hidden = false;
    place.querySelector("[data-without-script]").hidden = true;
    document.querySelector("[data-pager]").hidden = true;
    range.max = String(frames.length - 1);
    range.addEventListener("input", () => { stop(); show(Number(range.value)); });
    play.addEventListener("click", toggle);
    find("back").addEventListener("click", () => { stop(); show(at - 1); });
    find("on").addEventListener("click", () => { stop(); show(at + 1); });
    document.addEventListener("click", (event) => {
      const link = event.target instanceof Element && event.target.closest("[data-moment]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      stop();
      show(Number(link.dataset.moment));
    });
    show(at);
  }).catch(() => { /* The links and the field do it without us. */ });
})();
