// The page works without this by reloading; with it messages come by themselves and nothing reloads.
"use strict";

const app = document.querySelector(".app");
const composer = document.querySelector(".composer");
let refreshing = null;
let again = false;
let read = null; // the notice that was clicked away

function log() {
  return document.getElementById("log");
}

function toBottom() {
  log().scrollTop = log().scrollHeight;
}

function dress(root) {
  for (const time of root.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleTimeString(document.documentElement.lang, {
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
  }
}

function notify(text) {
  const notice = document.createElement("div");
  notice.className = "notice failed";
  notice.setAttribute("role", "alert");
  notice.textContent = text;
  document.querySelector(".talk").append(notice);
  setTimeout(() => notice.remove(), 5000);
}

async function refresh() {
  const answer = await fetch(app.dataset.live, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();
  const fresh = holder.content.getElementById("live");
  const old = document.getElementById("live");
  // Somebody who fills in a form of the keyboard is not interrupted.
  if (old.querySelector(".picker[open] input:focus")) return;
  const wasBlocked = log().dataset.blocked;
  const far = log().scrollHeight - log().scrollTop - log().clientHeight;
  const before = log().scrollTop;
  const notice = fresh.querySelector(".notice");
  if (notice && notice.dataset.until === read) notice.remove();
  dress(fresh);
  old.replaceWith(fresh);
  document.getElementById("status").textContent = document.getElementById("doing").innerHTML;
  if (far < 120) toBottom();
  else log().scrollTop = before;
  if (log().dataset.blocked !== wasBlocked) location.reload();
}

// One at a time: what changes meanwhile is fetched right after.
async function refreshSoon() {
  again = true;
  if (refreshing) return;
  refreshing = true;
  while (again) {
    again = false;
    await refresh().catch(() => {});
  }
  refreshing = false;
}

async function post(form, data) {
  try {
    const answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "application/json" } });
    if (answer.ok) return true;
    notify((await answer.json()).description);
  } catch (error) {
    notify(String(error));
  }
  return false;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  const data = new FormData(form, event.submitter);
  if (form === composer) {
    const file = data.get("file");
    if (!data.get("text").trim() && !(file && file.size)) return;
    const typed = composer.text.value;
    composer.text.value = "";
    if (await post(form, data)) {
      composer.file.value = "";
      composer.querySelector(".attach").classList.remove("chosen");
    } else {
      composer.text.value = typed;
    }
    composer.text.focus();
  } else {
    await post(form, data);
    for (const open of document.querySelectorAll("details[open]")) open.open = false;
  }
  await refreshSoon();
  // Who writes looks at the end; who presses an older button stays there.
  if (form === composer || form.id === "say") toBottom();
});

document.addEventListener("click", (event) => {
  const alert = document.querySelector(".notice.alert");
  if (alert) {
    read = alert.dataset.until;
    alert.remove();
  }
  const copied = event.target.closest("[data-copy]");
  if (copied) navigator.clipboard.writeText(copied.dataset.copy);
  for (const open of document.querySelectorAll("details[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

if (composer) {
  composer.text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  });
  composer.file.addEventListener("change", () => {
    composer.querySelector(".attach").classList.toggle("chosen", composer.file.files.length > 0);
  });
}

dress(document);
toBottom();
// The browser connects again by itself, and the first event after that fetches what was missed.
new EventSource(app.dataset.events).addEventListener("changed", refreshSoon);
