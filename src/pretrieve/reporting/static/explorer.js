"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const { pairs, points } = data;
const COLOURS = 10;

function el(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  made.dir = "auto";
  return made;
}
function link(text, act) {
  const made = el("button", text, "link");
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}
function listed(items) {
  const list = document.createElement("ul");
  for (const item of items) { const line = document.createElement("li"); line.append(...[item].flat()); list.append(line); }
  return list;
}
const colour = (number) => getComputedStyle(document.documentElement).getPropertyValue(`--c${number % COLOURS}`).trim();
const fixed = (value) => value.toFixed(2);

/* Pairs */
let shown = [];
let place = 0;
const scored = pairs.some((pair) => pair.loss !== null);
const textOf = pairs.map((pair) => pair.rows.flatMap((row) => row.pieces.map((piece) => `${piece[1]} ${piece[2]}`)).join(" ").toLowerCase());

function filtered() {
  const kind = $("kind").value, words = $("words").value.trim().toLowerCase();
  const least = Number($("least").value || 0), most = Number($("most").value || Infinity), loss = $("loss").value;
  shown = pairs.map((_, index) => index).filter((index) => {
    const pair = pairs[index];
    return (!kind || pair.kind === kind) && pair.length >= least && pair.length <= most
      && (loss === "" || (pair.loss !== null && pair.loss >= Number(loss)))
      && (!$("suspected").checked || pair.suspects.length > 0) && (!words || textOf[index].includes(words));
  });
  const order = $("order").value;
  if (order === "long") shown.sort((a, b) => pairs[b].length - pairs[a].length || a - b);
  if (order === "loss") shown.sort((a, b) => pairs[b].loss - pairs[a].loss || a - b);
  go(0);
}
function go(to) {
  place = Math.max(0, Math.min(to, shown.length - 1));
  $("place").textContent = shown.length ? `${place + 1} of ${shown.length}` : "no pair fits";
  $("previous").disabled = place <= 0;
  $("next").disabled = place >= shown.length - 1;
  $("pair").replaceChildren(...(shown.length ? pairView(shown[place]) : []));
}
function open(index) {
  let at = shown.indexOf(index);
  if (at < 0) { $("filters").reset(); filtered(); at = shown.indexOf(index); }
  go(at);
  $("pairs-title").scrollIntoView({ block: "nearest" });
}
function pairView(index) {
  const pair = pairs[index], parts = [el("h3", `Pair ${index + 1}: document ${pair.document}`)];
  const said = [pair.kind, pair.group, `${pair.length} tokens`].filter(Boolean);
  if (pair.loss !== null) said.push(`loss ${fixed(pair.loss)}`, `similarity of the pair ${fixed(pair.positive)}`);
  parts.push(el("p", said.join(", "), "faint"), rowsView(pair));
  for (const within of pair.documents) parts.push(...withinView(within));
  if (pair.suspects.length) {
    parts.push(el("h3", "Suspected false negatives"), listed(pair.suspects.map(([other, score]) =>
      [link(`pair ${other + 1}`, () => open(other)), el("span", ` (${fixed(score)}) ${keyText(pairs[other])}`)])));
  }
  if (pair.point !== null) parts.push(link("Show its document on the map", () => select(pair.point)));
  return parts;
}
const keyText = (pair) => pair.rows[pair.key].pieces.map((piece) => piece[1]).join(" ").slice(0, 240);
function rowsView(pair) {
  const list = document.createElement("dl");
  pair.rows.forEach((row, number) => {
    const head = document.createElement("dt"), badge = el("span", String(number + 1), "row");
    badge.style.background = colour(number);
    const spans = row.spans.map(([start, stop]) => `${start}-${stop}`).join(" + ");
    head.append(badge, el("span", ` ${row.role}: ${row.document}, tokens ${spans} of ${row.of}`));
    const body = el("dd");
    for (const [state, seen, own] of row.pieces) {
      if (seen) body.append(el("span", `${seen} `, state));
      if (own) body.append(el("span", `‹${own}› `, "own"));
    }
    list.append(head, body);
  });
  return list;
}
function withinView(within) {
  const strip = el("div", undefined, "strip"), rows = [...new Set(within.spans.map((span) => span[0]))];
  strip.style.height = `${rows.length * 12 + 4}px`;
  for (const [number, start, stop] of within.spans) {
    const bar = document.createElement("span");
    bar.style.left = `${(100 * start) / within.tokens}%`;
    bar.style.width = `${(100 * (stop - start)) / within.tokens}%`;
    bar.style.top = `${rows.indexOf(number) * 12}px`;
    bar.style.background = colour(number);
    strip.append(bar);
  }
  const body = el("p", undefined, "within");
  for (const [holds, text] of within.pieces) {
    if (!holds.length) { body.append(el("span", `${text} `)); continue; }
    const mark = el("mark", undefined, holds.length > 1 ? "both" : "");
    mark.style.borderColor = colour(holds[0]);
    mark.append(el("sup", holds.map((number) => number + 1).join(" ")), ` ${text} `);
    body.append(mark, " ");
  }
  return [el("h3", `In ${within.document} (${within.tokens} tokens)`), strip, body];
}

/* Map */
const canvas = $("map"), count = points.x.length;
let view = { x: 0, y: 0, size: 1 }, chosen = null, over = null;
const lengths = points.length.map((value) => Math.floor(Math.log2(Math.max(value, 1))));
const shortest = lengths.length ? Math.min(...lengths) : 0;
const groups = { cluster: points.cluster, source: points.source, length: lengths.map((value) => value - shortest) };
const names = {
  cluster: data.clusters, source: data.sources,
  length: [...new Set(groups.length)].sort((a, b) => a - b).reduce((made, bin) => { made[bin] = `${2 ** (bin + shortest)} tokens and more`; return made; }, []),
};
function spot(index) {
  const pad = 12, width = canvas.clientWidth - 2 * pad, height = canvas.clientHeight - 2 * pad;
  return [pad + ((points.x[index] - view.x) / view.size) * width, pad + ((1 - points.y[index] - view.y) / view.size) * height];
}
function draw() {
  const ratio = window.devicePixelRatio || 1, brush = canvas.getContext("2d");
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  const palette = Array.from({ length: COLOURS }, (_, number) => colour(number)), by = groups[$("colour").value];
  brush.globalAlpha = count > 1500 ? 0.55 : 0.8;
  for (let index = 0; index < count; index += 1) {
    const [x, y] = spot(index);
    brush.fillStyle = palette[by[index] % COLOURS];
    brush.beginPath();
    brush.arc(x, y, 3, 0, 7);
    brush.fill();
  }
  brush.globalAlpha = 1;
  brush.strokeStyle = getComputedStyle(document.body).color;
  const near = chosen === null ? [] : points.near[chosen];
  for (const [index, size] of [...near.map((other) => [other, 5]), ...(chosen === null ? [] : [[chosen, 8]])]) {
    const [x, y] = spot(index);
    brush.lineWidth = size > 5 ? 3 : 1.5;
    brush.beginPath();
    brush.arc(x, y, size, 0, 7);
    brush.stroke();
  }
}
function legend() {
  const kind = $("colour").value, used = new Set(groups[kind]);
  $("legend").replaceChildren(...names[kind].map((name, number) => [name, number]).filter(([, number]) => used.has(number)).map(([name, number]) => {
    const line = el("li"), dot = document.createElement("i");
    dot.style.background = colour(number);
    line.append(dot, name);
    return line;
  }));
}
function nearest(event) {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  let best = null, least = 14 ** 2;
  for (let index = 0; index < count; index += 1) {
    const [a, b] = spot(index), far = (a - x) ** 2 + (b - y) ** 2;
    if (far < least) { least = far; best = index; }
  }
  return best;
}
function tip(index) {
  $("tip").hidden = index === null;
  if (index === null) return;
  const [x, y] = spot(index);
  $("tip").textContent = points.title[index];
  $("tip").style.left = `${Math.min(x + 10, canvas.clientWidth - 170)}px`;
  $("tip").style.top = `${y + 10}px`;
}
function select(index) {
  chosen = index;
  draw();
  const parts = [el("h3", points.title[index]), el("p", `${points.length[index]} tokens; source: ${data.sources[points.source[index]]}; cluster: ${data.clusters[points.cluster[index]]}`, "faint"), el("p", points.text[index])];
  parts.push(el("h3", "Nearest documents"), listed(points.near[index].map((other) => link(points.title[other], () => select(other)))));
  const own = points.pairs[index];
  parts.push(el("h3", "Training pairs"), own.length ? listed(own.map((pair) => link(`pair ${pair + 1}`, () => open(pair)))) : el("p", "None of those on this page.", "faint"));
  $("document").replaceChildren(...parts);
}
function find() {
  const words = $("find").value.trim().toLowerCase(), hits = [];
  for (let index = 0; words && index < count && hits.length < 20; index += 1) {
    if (points.title[index].toLowerCase().includes(words) || points.text[index].toLowerCase().includes(words)) hits.push(index);
  }
  $("found").replaceChildren(...(words ? [hits.length ? listed(hits.map((index) => link(points.title[index], () => select(index)))) : el("p", "No document of the map has these words.", "faint")] : []));
}
function zoom(event) {
  if (!event.ctrlKey && !event.shiftKey) return;
  event.preventDefault();
  const box = canvas.getBoundingClientRect(), size = Math.min(1, Math.max(0.02, view.size * (event.deltaY > 0 ? 1.25 : 0.8)));
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  view = { x: view.x + x * (view.size - size), y: view.y + y * (view.size - size), size };
  if (size === 1) view = { x: 0, y: 0, size: 1 };
  draw();
}

/* Start */
$("title").textContent = `${data.facts.method}: training examples`;
$("facts").textContent = data.facts.text;
$("notes").replaceChildren(...data.facts.notes.map((note) => el("li", note)));
const kinds = [...new Set(pairs.map((pair) => pair.kind))].filter(Boolean).sort();
if (kinds.length && kinds.length <= 30) for (const kind of kinds) $("kind").append(new Option(kind, kind));
else $("kind").parentElement.hidden = true; /* none, or notes that count something */
if (!scored) for (const part of document.querySelectorAll(".scored")) part.remove();
for (const id of ["loss", "suspected"]) if (!$(id)) { const none = document.createElement("input"); none.id = id; none.hidden = true; $("filters").append(none); }
$("filters").addEventListener("input", filtered);
$("filters").addEventListener("reset", () => setTimeout(filtered));
for (const id of ["filters", "colours"]) $(id).addEventListener("submit", (event) => event.preventDefault());
$("previous").addEventListener("click", () => go(place - 1));
$("next").addEventListener("click", () => go(place + 1));
$("colour").addEventListener("input", () => { legend(); draw(); });
$("find").addEventListener("input", find);
$("whole").addEventListener("click", () => { view = { x: 0, y: 0, size: 1 }; draw(); });
canvas.addEventListener("pointermove", (event) => { over = nearest(event); canvas.style.cursor = over === null ? "" : "pointer"; tip(over); });
canvas.addEventListener("pointerleave", () => tip(null));
canvas.addEventListener("click", (event) => { const index = nearest(event); if (index !== null) select(index); });
canvas.addEventListener("wheel", zoom, { passive: false });
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { legend(); draw(); go(place); });
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = { ArrowRight: () => go(place + 1), j: () => go(place + 1), ArrowLeft: () => go(place - 1), k: () => go(place - 1),
    Home: () => go(0), End: () => go(shown.length - 1), "/": () => $("words").focus(), m: () => $("find").focus() };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
filtered();
legend();
draw();
