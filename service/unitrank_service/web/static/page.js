// Live states, the form's estimate and copying. Every page works without it; it replaces parts of a page with parts of a newer one.
"use strict";

const find = (id, root = document) => root.getElementById(id);

function say(text) {
  find("said").textContent = text;
}

// The page as it is now; null where that is another one (signed out), or the service is away.
async function newer(url, options = {}) {
  try {
    const answer = await fetch(url, { ...options, headers: { Accept: "text/html" } });
    if (answer.redirected || answer.status === 404) { location.reload(); return null; }
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch { return null; }
}

// Put the newer page's element in place of ours, unless they are alike; the focus stays where it was.
function replace(id, page) {
  const ours = find(id), theirs = page && find(id, page);
  if (!ours || !theirs || ours.outerHTML === theirs.outerHTML) return;
  const active = document.activeElement;
  const mark = ours.contains(active) && (active.id ? `#${CSS.escape(active.id)}` : active.getAttribute("href") && `a[href="${CSS.escape(active.getAttribute("href"))}"]`);
  const open = [...ours.querySelectorAll("details")].map((details) => details.open);
  ours.replaceWith(document.adoptNode(theirs));
  theirs.querySelectorAll("details").forEach((details, number) => { details.open = open[number] || details.open; });
  if (mark) theirs.querySelector(mark)?.focus({ preventScroll: true });
  start(theirs);
}

// The list of jobs, every so many seconds.
function refresh(element) {
  setTimeout(async () => {
    if (!element.isConnected) return;
    const page = document.hidden ? null : await newer(location.href);
    if (page) replace(element.id, page);
    if (element.isConnected) refresh(element);
  }, 1000 * Number(element.dataset.refresh));
}

// One job, as it happens.
const PAUSE = 3;
const ENDED = new Set(["succeeded", "failed", "cancelled", "timed_out"]);

function watch(element) {
  const events = new EventSource(element.dataset.events);
  let status = element.dataset.status;
  events.addEventListener("progress", (event) => {
    const { done, total, unit, stage, eta } = JSON.parse(event.data);
    const bar = find("progress"), text = find("progress-text");
    if (!bar || !text) return;
    if (total) bar.value = Math.floor(100 * done / total);
    const left = eta == null ? "" : `, about ${Math.ceil(eta)} s left`;
    text.textContent = `${stage[0].toUpperCase()}${stage.slice(1)}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${unit}${left}`;
  });
  let latest = 0;
  // The page as it is now, in place of ours; false where it could not be had.
  const show = async (number) => {
    const page = await newer(location.href), theirs = page && find("job", page);
    if (!theirs || number !== latest) return false;
    const changed = theirs.dataset.status !== status;
    status = theirs.dataset.status;
    // Our own stream goes on.
    theirs.removeAttribute("data-events");
    document.title = page.title;
    replace("job", page);
    if (changed) say(find("job").querySelector("h1").textContent.trim());
    return true;
  };
  // Without events (signed out, a service that was away): the page is asked for until the job has ended.
  const poll = async (number) => {
    while (number === latest && status) {
      await new Promise((after) => setTimeout(after, 1000 * PAUSE));
      if (!document.hidden) await show(number);
    }
  };
  events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) poll(++latest); });
  events.addEventListener("status", async (event) => {
    const seen = JSON.parse(event.data).status, number = ++latest;
    if (ENDED.has(seen)) events.close();
    // What has happened so far is told first.
    await new Promise((after) => setTimeout(after, 50));
    if (number !== latest || seen === status) return;
    if (!await show(number) && number === latest) poll(number);
  });
}

// What is filled in wrongly is marked where it is.
function mark(form, page) {
  for (const ours of form.elements) {
    const theirs = ours.id && find(ours.id, page);
    for (const name of theirs ? ["aria-invalid", "aria-describedby"] : []) {
      if (theirs.hasAttribute(name)) ours.setAttribute(name, theirs.getAttribute(name)); else ours.removeAttribute(name);
    }
  }
}

// The form: what is on offer and the estimate follow what is chosen.
function follow(form) {
  let number = 0, timer;
  // By its attribute: `form.action` would be the buttons of that name.
  const ask = async (reload) => {
    const mine = ++number, told = new FormData(form);
    told.set("action", "estimate");
    const page = await newer(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(told) });
    if (!page || !find("told", page) || mine !== number) return;
    if (reload) replace("choices", page);
    for (const id of ["refused", "told"]) replace(id, page);
    mark(form, page);
    document.title = page.title;
    replace("request", page);
    say(find("told").textContent.trim().replace(/\s+/g, " "));
  };
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    const reload = event.target.hasAttribute("data-reload");
    timer = setTimeout(() => ask(reload), reload ? 0 : 300);
  });
}

// A file goes to the service as it is; what becomes of it is said, and seen in the list.
function put(form) {
  const file = find("file"), name = find("put-name"), bar = find("put-bar"), hint = find("put-hint");
  let suggested = "";
  form.hidden = false;
  hint.open = false;
  file.addEventListener("change", () => {
    if (!file.files.length || name.value !== suggested) return;
    suggested = file.files[0].name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 128);
    name.value = suggested;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // What is in the field may be another one by the time that this one is ready.
    const called = name.value, button = form.querySelector("button"), place = form.dataset.put + encodeURIComponent(called);
    outcome();
    if (file.files[0].size > Number(form.dataset.most)) return outcome(`The file is larger than the ${form.dataset.says} that are allowed.`, true);
    button.disabled = true;
    bar.hidden = false;
    const sent = await send(place, file.files[0], bar);
    bar.hidden = true;
    const list = async () => replace(form.dataset.list, await newer(location.href));
    await list();
    const found = sent.digest ? await settled(`${place}@${sent.digest}`, sent) : sent;
    find("put-progress").textContent = "";
    button.disabled = false;
    const untaken = sent.digest ? `What became of ${called} is not known` : "That was not taken";
    if (found.status === "ready") outcome(`${called} is ready.`, false, `${location.pathname}/${encodeURIComponent(called)}`);
    else outcome(`${found.status === "rejected" ? `${called} was rejected` : untaken}: ${words(found.problem ?? found)}`, true);
    await list();
  });
}

// The service's answer, as far as there is one.
function send(place, file, bar) {
  const told = find("put-progress"), request = new XMLHttpRequest();
  request.open("PUT", place);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = total ? loaded / total : 1;
    told.textContent = loaded < total ? `Uploading, ${Math.floor(100 * loaded / total)} %` : "Uploaded; it is inspected";
  });
  return new Promise((done) => {
    request.addEventListener("loadend", () => {
      const nothing = request.status ? `the service answered ${request.status}` : "the service was not reached, or hung up";
      try { done(JSON.parse(request.responseText)); } catch { done({ detail: nothing }); }
    });
    request.send(file);
  });
}

// What was put, once it is ready or rejected; or the problem, where it is not to be seen any more.
async function settled(place, found) {
  while (!["ready", "rejected"].includes(found.status)) {
    await new Promise((after) => setTimeout(after, 700));
    try {
      const answer = await fetch(place, { headers: { Accept: "application/json" } });
      found = await answer.json();
      if (answer.status < 500 && !answer.ok) return found;
    } catch { /* away for a while */ }
  }
  return found;
}

function words(problem) {
  const more = (problem.errors ?? []).map((error) => error.detail).filter((detail) => !problem.detail?.includes(detail));
  return [problem.detail, ...more].filter(Boolean).join("; ");
}

function outcome(text = "", wrong = false, link = "") {
  const box = find("put-outcome"), told = document.createElement(link ? "a" : "span");
  box.className = text ? `box${wrong ? " wrong" : ""}` : "";
  told.textContent = text;
  if (link) told.href = link;
  box.replaceChildren(told);
  if (text) say(text);
}

function copy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(find(button.dataset.copy).textContent);
    say("Copied");
    button.firstChild.textContent = "Copied";
    setTimeout(() => { button.firstChild.textContent = "Copy"; }, 2000);
  });
}

function start(root) {
  const all = (what) => [...(root.matches?.(what) ? [root] : []), ...root.querySelectorAll(what)];
  all("[data-refresh]").forEach(refresh);
  all("[data-events]").forEach(watch);
  all("form[data-live]").forEach(follow);
  all("form[data-put]").forEach(put);
  all("button[data-copy]").forEach(copy);
}

start(document);
