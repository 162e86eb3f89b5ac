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
    if (answer.redirected) { location.reload(); return null; }
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
  events.addEventListener("status", async (event) => {
    const seen = JSON.parse(event.data).status, number = ++latest;
    if (ENDED.has(seen)) events.close();
    // What has happened so far is told first.
    await new Promise((after) => setTimeout(after, 50));
    if (number !== latest || seen === status) return;
    status = seen;
    const page = await newer(location.href);
    if (!page || number !== latest) return;
    const theirs = find("job", page);
    // Our own stream goes on.
    if (theirs && !ENDED.has(seen)) theirs.removeAttribute("data-events");
    document.title = page.title;
    replace("job", page);
    say(find("job")?.querySelector("h1").textContent.trim());
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
  all("button[data-copy]").forEach(copy);
}

start(document);
