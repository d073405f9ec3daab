"use strict";
// Keys: / query, j and k hits, enter opens, r and n judge. Equal documents of several columns are marked together.
const query = document.getElementById("q");
const hits = [...document.querySelectorAll(".hit")];
const state = document.getElementById("status");

function alike(hit) {
  return hits.filter((other) => other.dataset.id === hit.dataset.id);
}

function focusOn(step) {
  const place = hits.indexOf(document.activeElement.closest(".hit"));
  const next = hits[Math.min(Math.max(place + step, 0), hits.length - 1)];
  if (next) next.focus();
}

for (const hit of hits) {
  hit.addEventListener("focusin", () => {
    hits.forEach((other) => other.classList.toggle("same", other.dataset.id === hit.dataset.id));
  });
}

async function judge(hit, grade) {
  const given = hit.dataset.grade === String(grade) ? null : grade;
  const body = JSON.stringify({ query: document.body.dataset.query, id: hit.dataset.id, grade: given });
  try {
    const reply = await fetch("/judge", { method: "POST", headers: { "content-type": "application/json" }, body });
    const said = await reply.json();
    if (!reply.ok) throw new Error(said.error);
    for (const other of alike(hit)) {
      if (given === null) delete other.dataset.grade;
      else other.dataset.grade = given;
    }
    state.textContent = " · kept";
  } catch (error) {
    state.textContent = ` · ${error.message}`;
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const hit = document.activeElement.closest(".hit");
  if (event.key === "/") query.focus();
  else if (event.key === "j") focusOn(1);
  else if (event.key === "k") focusOn(-1);
  else if (event.key === "Enter" && hit === document.activeElement) hit.querySelector("a").click();
  else if ((event.key === "r" || event.key === "n") && hit && state) judge(hit, event.key === "r" ? 1 : 0);
  else return;
  event.preventDefault();
});
