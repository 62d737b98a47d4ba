// Keeps the page current: the server sends its sections whenever they have changed.
"use strict";

const live = document.getElementById("live");
let source;

function show(html) {
  const next = new DOMParser().parseFromString(html, "text/html").body;
  for (const section of next.children) {
    const shown = document.getElementById(section.id);
    // A section that is the same keeps what the reader has selected in it.
    if (shown.innerHTML !== section.innerHTML) shown.replaceChildren(...section.childNodes);
  }
}

function report(state, text) {
  if (live.className !== state) live.className = state;
  if (live.textContent !== text) live.textContent = text;
}

function connect() {
  source = new EventSource("/events");
  source.onmessage = (event) => {
    show(event.data);
    report("live", "live");
  };
  source.onerror = () => {
    report("lost", "not connected, retrying");
    // The browser itself retries only after a lost connection, not after a refusal.
    if (source.readyState === EventSource.CLOSED) setTimeout(update, 2000);
  };
}

// A page that nobody sees needs no connection; browsers open only a few to one server.
function update() {
  source?.close();
  if (!document.hidden) connect();
}

document.addEventListener("visibilitychange", update);
update();
