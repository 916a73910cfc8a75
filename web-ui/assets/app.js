// Live updates. Every page works without this script.
"use strict";

// Brings an element to the state of a newer one and changes only what differs, so that focus,
// scrolling, selections and open details stay.
function renew(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // What the reader has changed is the reader's.
  if (old.hasAttribute("data-keep") || old.matches("input:focus, select:focus")) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  // Children are the same by their id; those without one, by their place. What goes, goes first:
  // then what stays need not move, and keeps its focus.
  const ids = new Set([...fresh.children].map((child) => child.id));
  for (const child of [...old.children]) {
    if (child.id && !ids.has(child.id)) child.remove();
  }
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    let match = null;
    if (child.id) match = old.querySelector(`:scope > #${CSS.escape(child.id)}`);
    else if (next && !next.id) match = next;
    if (!match) {
      old.insertBefore(child, next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    else old.insertBefore(match, next);
    renew(match, child);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

let busy = false;
let again = false;

let retry = null;

async function refresh() {
  if (document.hidden || !document.querySelector(".live")) return;
  clearTimeout(retry);
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const log = document.querySelector(".log");
    const atEnd = log && log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    const follow = document.querySelector("[name=follow]");
    document.title = fresh.title;
    renew(document.querySelector(".clock"), fresh.querySelector(".clock"));
    renew(document.querySelector("main"), fresh.querySelector("main"));
    sayLive(true);
    const now = document.querySelector(".log");
    if (now && atEnd && follow && follow.checked) now.scrollTop = now.scrollHeight;
    tellEnds();
  } catch {
    sayLive(false);
    retry = setTimeout(refresh, 5000);
  } finally {
    busy = false;
    if (again) {
      again = false;
      setTimeout(refresh, 500);
    }
  }
}

function sayLive(isLive) {
  const mark = document.querySelector(".live");
  if (!mark) return;
  mark.hidden = false;
  if (isLive) {
    mark.textContent = "live";
    mark.classList.remove("stale");
  } else if (!mark.classList.contains("stale")) {
    mark.classList.add("stale");
    // What is shown is of this time, in the zone of the page.
    mark.textContent = "stale, of";
  }
}

// A word to who reads another part of the page, when a run has ended.
let known = new Map();

function states(root) {
  const found = [...root.querySelectorAll("[data-run]")];
  return new Map(found.map((mark) => [mark.dataset.run, mark]));
}

function tellEnds() {
  const now = states(document);
  for (const [run, mark] of now) {
    const before = known.get(run);
    if (before === "running" && mark.dataset.state !== "running") toast(mark.dataset.says);
  }
  known = new Map([...now].map(([run, mark]) => [run, mark.dataset.state]));
}

function toast(text) {
  const toasts = document.querySelector(".toasts");
  const note = document.createElement("p");
  note.className = "toast";
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.className = "link";
  close.textContent = "Close";
  close.addEventListener("click", () => note.remove());
  note.append(words, close);
  toasts.append(note);
  let touched = false;
  note.addEventListener("pointerenter", () => { touched = true; });
  note.addEventListener("focusin", () => { touched = true; });
  setTimeout(() => { if (!touched) note.remove(); }, 6000);
}

let stream = null;

function listen() {
  if (stream || document.hidden || !document.querySelector(".live")) return;
  stream = new EventSource("/live");
  stream.addEventListener("open", refresh);
  stream.addEventListener("change", refresh);
  stream.addEventListener("error", () => {
    sayLive(false);
    // A browser tries again by itself, but not after an answer that is an error.
    if (stream && stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(listen, 5000);
    }
  });
}

// A browser has few connections to one server: a page that nobody sees needs none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && stream) {
    stream.close();
    stream = null;
  } else listen();
});

window.addEventListener("online", () => {
  listen();
  refresh();
});
document.addEventListener("input", (event) => event.target.setAttribute("data-keep", ""));
known = new Map([...states(document)].map(([run, mark]) => [run, mark.dataset.state]));
const log = document.querySelector(".log");
if (log && document.querySelector("[name=follow]:checked")) log.scrollTop = log.scrollHeight;
listen();
