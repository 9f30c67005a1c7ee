// Comfort for the pages: they work without this.
"use strict";

const formToken = document.querySelector("meta[name=form-token]")?.content;

// Times in the reader's own zone.
function localTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}
localTimes(document);

// What changes by itself is fetched again while somebody looks.
const live = document.getElementById("live");
if (live) setInterval(refresh, Number(live.dataset.every));

let refreshing = false;
async function refresh() {
  // Whoever is reading with the keyboard keeps the place.
  if (refreshing || document.hidden || live.contains(document.activeElement)) return;
  refreshing = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = page.getElementById("live");
    if (now && now.innerHTML !== live.dataset.shown) {
      live.dataset.shown = now.innerHTML;
      live.innerHTML = now.innerHTML;
      localTimes(live);
    }
  } catch {
    // The node is stopped, or starts again: what was last known stays.
  } finally {
    refreshing = false;
  }
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.textContent = "Copied";
  });
}

// Whoever has to log in first takes what stands after the # along: a link to share has its capability there.
const loginForm = document.getElementById("login-form");
if (loginForm && location.hash.length > 1) {
  loginForm.action = "/login" + location.hash;
  history.replaceState(null, "", location.pathname + location.search);
}

// A link holds its capability after the #, which no server is sent; the history need not keep it.
const openForm = document.getElementById("open-form");
if (openForm && location.hash.length > 1) {
  openForm.elements.cap.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

const upload = document.getElementById("upload");
if (upload) uploads(upload, document.getElementById("transfers"));

function uploads(form, list) {
  const SENT_AT_ONCE = 3;
  const waiting = [];
  let sending = 0, stored = 0, failed = 0;
  // Said once for all, not with each step of each bar.
  const said = document.getElementById("said");

  const input = form.elements.file;
  input.multiple = true;
  form.querySelector("label[for=file]").textContent = "Upload files: choose them, or drop files and folders anywhere on this page";
  const folder = document.createElement("input");
  Object.assign(folder, { type: "file", id: "folder-file", webkitdirectory: true, multiple: true });
  folder.className = "hidden";
  folder.tabIndex = -1;
  folder.setAttribute("aria-hidden", "true");
  // One picker takes files or a folder, never both.
  const pick = document.createElement("button");
  Object.assign(pick, { type: "button", textContent: "Upload a folder" });
  pick.addEventListener("click", () => folder.click());
  form.querySelector("button.primary").after(pick, folder);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(input.files);
  });
  input.addEventListener("change", () => take(input.files));
  folder.addEventListener("change", () => take(folder.files));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  addEventListener("dragleave", () => form.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    if (entries.some((entry) => entry && entry.isDirectory)) {
      for (const entry of entries) if (entry) walk(entry, "");
    } else {
      take(event.dataTransfer.files);
    }
  });
  addEventListener("beforeunload", (event) => {
    if (sending || waiting.length) event.preventDefault();
  });

  function take(files) {
    for (const file of files) add(file, file.webkitRelativePath || file.name);
    input.value = folder.value = "";
  }

  function walk(entry, above) {
    if (entry.isFile) {
      entry.file((file) => add(file, above + file.name), () => {});
      return;
    }
    const reader = entry.createReader();
    const more = () => reader.readEntries((entries) => {
      for (const inside of entries) walk(inside, above + entry.name + "/");
      if (entries.length) more();
    }, () => {});
    more();
  }

  function add(file, path) {
    const row = document.createElement("div");
    row.className = "transfer";
    const name = document.createElement("span");
    name.textContent = path;
    const state = document.createElement("span");
    state.className = "state";
    state.textContent = "waiting";
    const cancel = document.createElement("button");
    cancel.type = "button";
    cancel.textContent = "Cancel";
    cancel.setAttribute("aria-label", "Cancel " + path);
    const bar = document.createElement("progress");
    bar.max = file.size || 1;
    bar.value = 0;
    bar.setAttribute("aria-label", path);
    row.append(name, state, cancel, bar);
    list.append(row);
    const job = { file, path, row, state, cancel, bar, request: null };
    cancel.addEventListener("click", () => {
      if (job.request) return job.request.abort();
      waiting.splice(waiting.indexOf(job), 1);
      end(job, "cancelled", true);
    });
    waiting.push(job);
    said.textContent = "Uploading " + (sending + waiting.length) + (sending + waiting.length === 1 ? " file" : " files");
    next();
  }

  function next() {
    while (sending < SENT_AT_ONCE && waiting.length) {
      sending++;
      send(waiting.shift());
    }
    if (!sending && !waiting.length && stored) {
      said.textContent = stored + (stored === 1 ? " file is stored" : " files are stored") + (failed ? ", " + failed + " failed" : "");
      stored = 0;
      // What failed stays to be read.
      if (!failed) location.reload();
    }
  }

  function send(job) {
    const request = job.request = new XMLHttpRequest();
    const began = performance.now();
    const path = job.path.split("/").map(encodeURIComponent).join("/");
    request.open("PUT", form.dataset.here + "/" + path + "?replace=" + form.elements.replace.value);
    request.setRequestHeader("X-Form-Token", formToken);
    request.upload.onprogress = (event) => {
      job.bar.value = event.loaded;
      const speed = event.loaded / Math.max(0.001, (performance.now() - began) / 1000);
      job.state.textContent = event.loaded < job.file.size ? size(event.loaded) + ", " + size(speed) + "/s" : "storing";
    };
    request.onload = () => {
      sending--;
      if (request.status < 300) {
        stored++;
        end(job, "stored");
      } else {
        failed++;
        end(job, request.responseText.trim() || "failed", true);
      }
    };
    request.onerror = () => {
      sending--;
      failed++;
      end(job, "the node cannot be reached, or has refused it", true);
    };
    request.onabort = () => {
      sending--;
      end(job, "cancelled", true);
    };
    request.send(job.file);
  }

  function end(job, words, bad) {
    job.state.textContent = words;
    job.row.classList.toggle("failed", !!bad);
    job.cancel.remove();
    if (bad) job.bar.remove();
    else job.bar.value = job.bar.max;
    next();
  }

  function size(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 999.5 && unit + 1 < units.length) {
      bytes /= 1000;
      unit++;
    }
    return (unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)) + " " + units[unit];
  }
}
