"use strict";
// Keys: / query, j and k hits, h and l columns, enter opens, w why, r and n judge, u unfiltered.
// Equal documents of several columns are marked together.
const query = document.getElementById("q");
const hits = [...document.querySelectorAll(".hit")];
const columns = [...document.querySelectorAll("section")];
const state = document.getElementById("status");
const named = [...document.querySelectorAll("[data-id]")];

function alike(name) {
  return hits.filter((other) => other.dataset.id === name);
}

function mark(name) {
  for (const other of named) other.classList.toggle("same", name !== undefined && other.dataset.id === name);
}

function focused() {
  return document.activeElement.closest(".hit");
}

function focusOn(step) {
  const place = hits.indexOf(focused());
  const next = hits[Math.min(Math.max(place + step, 0), hits.length - 1)];
  if (next) next.focus();
}

function focusBeside(step) {
  const hit = focused();
  const column = columns[columns.indexOf(hit ? hit.closest("section") : columns[0]) + step];
  if (!column) return;
  const same = hit && alike(hit.dataset.id).find((other) => column.contains(other));
  const next = same || column.querySelector(".hit");
  if (next) next.focus();
}

function showGrade(hit) {
  const grade = hit.querySelector(".grade");
  grade.hidden = hit.dataset.grade === undefined;
  grade.textContent = hit.dataset.grade === "1" ? "✓ relevant" : "✗ not relevant";
}

for (const one of named) {
  one.addEventListener("focusin", () => mark(one.dataset.id));
  one.addEventListener("mouseenter", () => mark(one.dataset.id));
  one.addEventListener("mouseleave", () => mark(focused()?.dataset.id));
}
hits.forEach(showGrade);

async function judge(hit, grade) {
  const given = hit.dataset.grade === String(grade) ? null : grade;
  const body = JSON.stringify({ query: document.body.dataset.query, id: hit.dataset.id, grade: given });
  try {
    const reply = await fetch("/judge", { method: "POST", headers: { "content-type": "application/json" }, body });
    const said = await reply.json();
    if (!reply.ok) throw new Error(said.error);
    for (const other of alike(hit.dataset.id)) {
      if (given === null) delete other.dataset.grade;
      else other.dataset.grade = given;
      showGrade(other);
    }
    state.textContent = given === null ? " · taken back" : " · kept";
  } catch (error) {
    state.textContent = ` · ${error.message}`;
  }
}

function pressed(key, hit) {
  if (key === "j") focusOn(1);
  else if (key === "k") focusOn(-1);
  else if (key === "h") focusBeside(-1);
  else if (key === "l") focusBeside(1);
  else if (key === "u") document.getElementById("unfiltered")?.click();
  else if (key === "w" && hit) hit.querySelector(".why").toggleAttribute("open");
  else if (key === "Enter" && hit && hit === document.activeElement) hit.querySelector("a").click();
  else if ((key === "r" || key === "n") && hit && state) judge(hit, key === "r" ? 1 : 0);
  else return false;
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") {
    if (query) query.focus();
    else document.getElementById("home").click();
  } else if (!pressed(event.key, focused())) return;
  event.preventDefault();
});

const facets = document.getElementById("facets");
if (facets && window.matchMedia("(max-width: 50rem)").matches) facets.removeAttribute("open");
