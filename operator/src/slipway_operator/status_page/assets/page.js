// Everything shown is put in as text: a Model's fields are other people's input, and none of it becomes markup.
"use strict";

const RETRY_MILLISECONDS = 5000;
const SILENT_MILLISECONDS = 45000; // Three times as long as the server is ever silent.
const main = document.getElementById("models");
const template = document.getElementById("model");
const connection = document.getElementById("connection");
const count = document.getElementById("count");
const find = document.getElementById("find");
const cards = new Map(); // "namespace/name" -> {model, article}
const tones = new Map(); // "namespace/name/version" -> colour, kept while the page is open
let hidden = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Writes only what differs, so that nothing is announced, selected or scrolled anew without need.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function ago(time) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
  if (Number.isNaN(seconds)) return "";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

function when(time) {
  const made = element("time", ago(time));
  made.dateTime = time;
  made.title = time;
  return made;
}

function tone(model, version) {
  const key = `${model.namespace}/${model.name}/${version}`;
  if (!tones.has(key)) {
    const taken = model.versions.map((one) => tones.get(`${model.namespace}/${model.name}/${one.version}`));
    const free = [0, 1, 2, 3].find((one) => !taken.includes(one));
    tones.set(key, free === undefined ? tones.size % 4 : free);
  }
  return `tone${tones.get(key)}`;
}

function phaseTone(model) {
  if (model.degraded || /^(Failed|Rejected|RolledBack|Aborted|Invalid|AccessDenied|Unavailable)/.test(model.phase)) return "bad";
  return model.phase === "Available" ? "good" : "move";
}

function versionRow(model, version) {
  const row = element("tr");
  const name = element("td");
  name.append(element("span", "", `dot ${version.weight || version.replicas ? tone(model, version.version) : "idle"}`), version.version);
  const state = element("td", version.state);
  const why = [version.reason, version.message].filter(Boolean).join(": ");
  if (why) state.append(element("small", why));
  const since = element("td");
  if (version.since) since.append(when(version.since));
  row.append(name, state, element("td", version.weight ? `${version.weight} %` : "–"),
    element("td", version.replicas ? `${version.readyReplicas}/${version.replicas}` : "–"), since);
  return row;
}

function historyItem(record) {
  const item = element("li");
  const from = record.from ? `${record.from} → ` : "";
  const end = record.outcome ? `${record.outcome} in ${record.duration}` : "under way";
  item.append(`${from}${record.to}: ${end} `, when(record.startedAt));
  const outage = record.outageSeconds ? `${record.outageSeconds} s without a pod that took requests` : "";
  const why = [record.cause + (record.by ? ` by ${record.by}` : ""), outage, record.message].filter(Boolean).join("; ");
  if (why) item.append(element("small", why));
  return item;
}

function traffic(model, bar) {
  const parts = model.versions.filter((one) => one.weight > 0);
  while (bar.children.length > parts.length) bar.lastChild.remove();
  while (bar.children.length < parts.length) bar.append(element("span"));
  parts.forEach((one, index) => {
    bar.children[index].className = tone(model, one.version);
    bar.children[index].style.width = `${one.weight}%`;
  });
}

function fill(article, model) {
  const at = (selector) => article.querySelector(selector);
  const title = at("h2");
  if (!title.firstChild) title.append(element("small", `${model.namespace}/`), model.name);
  write(at(".ready"), model.ready === "True" ? "ready" : model.ready === "False" ? "not ready" : "");
  write(at(".phase"), model.phase);
  at(".phase").dataset.tone = phaseTone(model);
  write(at(".message"), model.message);
  write(at(".serving"), model.serving);
  write(at(".target"), model.target);
  write(at(".pods"), model.pods);
  traffic(model, at(".traffic"));
  at("tbody").replaceChildren(...model.versions.map((one) => versionRow(model, one)));
  at("table").hidden = model.versions.length === 0;
  write(at(".more"), model.moreVersions ? `and ${model.moreVersions} more versions` : "");
  at("ol").replaceChildren(...model.history.map(historyItem));
  at("details").hidden = model.history.length === 0;
}

function show(model) {
  const key = `${model.namespace}/${model.name}`;
  let card = cards.get(key);
  if (!card) {
    card = {article: template.content.firstElementChild.cloneNode(true)};
    card.article.id = key;
    cards.set(key, card);
    const after = [...cards.keys()].filter((other) => other > key).sort()[0];
    main.insertBefore(card.article, after === undefined ? null : cards.get(after).article);
  }
  card.model = model;
  fill(card.article, model);
  filter();
}

function filter() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  for (const [key, {model, article}] of cards) {
    article.hidden = !`${key} ${model.phase}`.toLowerCase().includes(wanted);
    if (!article.hidden) shown += 1;
  }
  const all = cards.size === 1 ? "1 Model" : `${cards.size} Models`;
  const more = hidden ? `, ${hidden} more are not shown` : "";
  write(count, (shown === cards.size ? all : `${shown} of ${all}`) + more);
}

function told(state, text) {
  connection.dataset.state = state;
  write(connection, text);
}

function connect() {
  const events = new EventSource("events");
  const fresh = new Set();
  let complete = false;
  let silence;
  // A connection may die without a word, when a computer sleeps or a proxy forgets it.
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(lost, SILENT_MILLISECONDS);
  };
  const lost = () => {
    clearTimeout(silence);
    const time = new Date().toLocaleTimeString();
    told("lost", `No connection, or too many viewers. This is from ${time}; trying again.`);
    events.close();
    setTimeout(connect, RETRY_MILLISECONDS);
  };
  heard();
  for (const kind of ["open", "model", "gone", "summary", "alive"]) events.addEventListener(kind, heard);
  events.addEventListener("open", () => told("live", "Live"));
  events.addEventListener("model", ({data}) => {
    const model = JSON.parse(data);
    fresh.add(`${model.namespace}/${model.name}`);
    show(model);
  });
  events.addEventListener("gone", ({data}) => {
    const {namespace, name} = JSON.parse(data);
    remove(`${namespace}/${name}`);
  });
  // Comes after the first round: what it did not name went while there was no connection.
  events.addEventListener("summary", ({data}) => {
    hidden = JSON.parse(data).hidden;
    if (!complete) for (const key of [...cards.keys()]) if (!fresh.has(key)) remove(key);
    complete = true;
    filter();
  });
  events.addEventListener("error", lost);
}

function remove(key) {
  const card = cards.get(key);
  if (!card) return;
  card.article.remove();
  cards.delete(key);
  filter();
}

find.addEventListener("input", filter);
setInterval(() => {
  for (const node of document.querySelectorAll("time")) write(node, ago(node.dateTime));
}, 10000);
connect();
