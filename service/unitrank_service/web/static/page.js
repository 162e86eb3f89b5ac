// Live states, the form's estimate, uploads and copying. Every page also works without this script.
// The script fetches a page again and replaces elements of the shown page with the fetched ones.
"use strict";

const find = (id, root = document) => root.getElementById(id);

// Screen readers read the text aloud.
function announce(text) {
  find("announcement").textContent = text;
}

// Fetch the page; null if the user was signed out or the service does not answer.
async function fetchPage(url, options = {}) {
  try {
    const answer = await fetch(url, { ...options, headers: { Accept: "text/html" } });
    if (answer.redirected || answer.status === 404) { location.reload(); return null; }
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch { return null; }
}

// Replace an element by the element with this id in the fetched page, unless both are equal.
// The focus stays, and open details stay open.
function replace(id, page) {
  const shown = find(id), fetched = page && find(id, page);
  if (!shown || !fetched || shown.outerHTML === fetched.outerHTML) return;
  const active = document.activeElement;
  const focused = shown.contains(active) && (active.id ? `#${CSS.escape(active.id)}` : active.getAttribute("href") && `a[href="${CSS.escape(active.getAttribute("href"))}"]`);
  const ticked = new Set([...shown.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.name + box.value));
  const open = [...shown.querySelectorAll("details")].map((details) => details.open);
  shown.replaceWith(document.adoptNode(fetched));
  fetched.querySelectorAll("details").forEach((details, number) => { details.open = open[number] || details.open; });
  fetched.querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked ||= ticked.has(box.name + box.value); });
  if (focused) fetched.querySelector(focused)?.focus({ preventScroll: true });
  start(fetched);
}

// Update an element every `data-refresh` seconds.
function refresh(element) {
  setTimeout(async () => {
    if (!element.isConnected) return;
    const page = document.hidden ? null : await fetchPage(location.href);
    if (page) replace(element.id, page);
    if (element.isConnected) refresh(element);
  }, 1000 * Number(element.dataset.refresh));
}

// Follow one job by its events.
const POLL_SECONDS = 3;
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
  // Replace the job's part of the page; false if the page could not be fetched.
  const show = async (number) => {
    const page = await fetchPage(location.href), fetched = page && find("job", page);
    if (!fetched || number !== latest) return false;
    const changed = fetched.dataset.status !== status;
    status = fetched.dataset.status;
    // The new element must not start a second stream: the present stream of events continues.
    fetched.removeAttribute("data-events");
    document.title = page.title;
    replace("job", page);
    if (changed) announce(find("job").querySelector("h1").textContent.trim());
    return true;
  };
  // Without events (signed out, or no answer of the service) poll the page until the job has ended.
  const poll = async (number) => {
    while (number === latest && status) {
      await new Promise((after) => setTimeout(after, 1000 * POLL_SECONDS));
      if (!document.hidden) await show(number);
    }
  };
  events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) poll(++latest); });
  events.addEventListener("status", async (event) => {
    const next = JSON.parse(event.data).status, number = ++latest;
    if (ENDED.has(next)) events.close();
    // Earlier events may arrive at once; only the last one matters.
    await new Promise((after) => setTimeout(after, 50));
    if (number !== latest || next === status) return;
    if (!await show(number) && number === latest) poll(number);
  });
}

// Mark the controls that have errors.
function mark(form, page) {
  for (const shown of form.elements) {
    const fetched = shown.id && find(shown.id, page);
    for (const name of fetched ? ["aria-invalid", "aria-describedby"] : []) {
      if (fetched.hasAttribute(name)) shown.setAttribute(name, fetched.getAttribute(name)); else shown.removeAttribute(name);
    }
  }
}

// The form: update the choices and the estimate after each input.
function follow(form) {
  let latest = 0, timer, reload = false;
  // `getAttribute`, because `form.action` returns the form's buttons with the name `action`.
  const update = async () => {
    const number = ++latest, fields = new FormData(form);
    fields.set("action", "estimate");
    const page = await fetchPage(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(fields) });
    if (!page || !find("estimate", page) || number !== latest) return;
    if (reload) replace("choices", page);
    reload = false;
    for (const id of ["refused", "estimate"]) replace(id, page);
    mark(form, page);
    document.title = page.title;
    replace("request", page);
    announce(find("estimate").textContent.trim().replace(/\s+/g, " "));
  };
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    // Answers to earlier input would undo this input.
    latest++;
    reload ||= event.target.hasAttribute("data-reload");
    timer = setTimeout(update, reload ? 0 : 300);
  });
}

// Upload a file, show the outcome and update the list.
function put(form) {
  const file = find("file"), name = find("put-name"), bar = find("put-bar"), hint = find("put-hint");
  let suggested = "";
  form.hidden = false;
  hint.open = false;
  file.addEventListener("change", () => {
    if (!file.files.length || name.value !== suggested) return;
    suggested = slug(file.files[0].name);
    name.value = suggested;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // The user may type another name before this upload is ready.
    const uploadName = name.value, button = form.querySelector("button"), path = form.dataset.put + encodeURIComponent(uploadName);
    outcome();
    if (file.files[0].size > Number(form.dataset.most)) return outcome(`The file is larger than the limit of ${form.dataset.limit}.`, true);
    button.disabled = true;
    bar.hidden = false;
    const answer = await send(path, file.files[0], bar, find("put-progress"));
    bar.hidden = true;
    const updateList = async () => replace(form.dataset.list, await fetchPage(location.href));
    await updateList();
    const content = answer.digest ? await inspected(`${path}@${answer.digest}`, answer) : answer;
    find("put-progress").textContent = "";
    button.disabled = false;
    const unknown = answer.digest ? `The status of ${uploadName} is unknown` : "The upload failed";
    if (content.status === "ready") outcome(`${uploadName} is ready.`, false, `${location.pathname}/${encodeURIComponent(uploadName)}`);
    else outcome(`${content.status === "rejected" ? `${uploadName} was rejected` : unknown}: ${details(content.problem ?? content)}`, true);
    await updateList();
  });
}

// The form's file of scores: upload the file as a dataset, and choose this dataset in the form.
function bring(file) {
  const progress = find("scores-progress"), bar = find("scores-bar");
  file.closest("p").hidden = false;
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    const name = `given-${slug(file.files[0].name)}`.slice(0, 128);
    bar.hidden = false;
    const answer = await send(file.dataset.scores + encodeURIComponent(name), file.files[0], bar, progress);
    bar.hidden = true;
    const text = answer.digest ? `Uploaded as ${name}.` : `The upload failed: ${details(answer)}`;
    progress.textContent = text;
    announce(text);
    if (!answer.digest) return;
    const select = find("given");
    if (![...select.options].some((option) => option.value === name)) select.add(new Option(name, name));
    select.value = name;
    select.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

// Fill a text with the lines of a file.
function fill(file) {
  file.closest("p").hidden = false;
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    const text = find(file.dataset.lines);
    text.value = await file.files[0].text();
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

// The part of a file's name that can name a model or a dataset.
function slug(name) {
  return name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 128);
}

// Send the file; returns the service's answer, or an object with a `detail` if there is no answer.
function send(path, file, bar, progress) {
  const request = new XMLHttpRequest();
  request.open("PUT", path);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = total ? loaded / total : 1;
    progress.textContent = loaded < total ? `Uploading, ${Math.floor(100 * loaded / total)} %` : "Uploaded; inspecting";
  });
  return new Promise((done) => {
    request.addEventListener("loadend", () => {
      const detail = request.status ? `the service answered ${request.status}` : "the service did not answer, or closed the connection";
      try { done(JSON.parse(request.responseText)); } catch { done({ detail }); }
    });
    request.send(file);
  });
}

// Wait until the content is ready or rejected.
// Returns the content's record, or the problem if the content cannot be read any more.
async function inspected(path, content) {
  while (!["ready", "rejected"].includes(content.status)) {
    await new Promise((after) => setTimeout(after, 700));
    try {
      const answer = await fetch(path, { headers: { Accept: "application/json" } });
      content = await answer.json();
      if (answer.status < 500 && !answer.ok) return content;
    } catch { /* The service does not answer: try again. */ }
  }
  return content;
}

// The problem's detail, then the details of the wrong fields.
function details(problem) {
  const more = (problem.errors ?? []).map((error) => error.detail).filter((detail) => !problem.detail?.includes(detail));
  return [problem.detail, ...more].filter(Boolean).join("; ");
}

function outcome(text = "", wrong = false, link = "") {
  const box = find("put-outcome"), message = document.createElement(link ? "a" : "span");
  box.className = text ? `box${wrong ? " wrong" : ""}` : "";
  message.textContent = text;
  if (link) message.href = link;
  box.replaceChildren(message);
  if (text) announce(text);
}

function copy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(find(button.dataset.copy).textContent);
    announce("Copied");
    button.firstChild.textContent = "Copied";
    setTimeout(() => { button.firstChild.textContent = "Copy"; }, 2000);
  });
}

function start(root) {
  const all = (selector) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
  all("[data-refresh]").forEach(refresh);
  all("[data-events]").forEach(watch);
  all("form[data-live]").forEach(follow);
  all("form[data-put]").forEach(put);
  all("input[data-scores]").forEach(bring);
  all("input[data-lines]").forEach(fill);
  all("button[data-copy]").forEach(copy);
  all("[data-plot], [data-statistics]").forEach((figure) => window.showPlot?.(figure));
  all("[data-gallery]").forEach((gallery) => window.showGallery?.(gallery));
}

start(document);
