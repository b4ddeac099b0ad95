"use strict";
// A click on a header sorts by it: numbers by value, text by alphabet, empty cells last; a second click turns it round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort ?? cell.textContent.trim();
  };
  headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => {
    const down = header.getAttribute("aria-sort") === "ascending";
    const rows = [...body.rows];
    const numeric = rows.every((row) => value(row, column) === "" || Number.isFinite(Number(value(row, column))));
    rows.sort((one, other) => {
      const a = value(one, column), b = value(other, column);
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return down ? -order : order;
    });
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  }));
}
// Tables that are wider than the page get a shadow and a hint until they are scrolled to their end.
const measure = (box) => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
const boxes = [...document.querySelectorAll(".scroll")];
for (const box of boxes) box.addEventListener("scroll", () => measure(box), { passive: true });
const measureAll = () => boxes.forEach(measure);
addEventListener("resize", measureAll);
for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", measureAll);
measureAll();
// A link to a collapsed section opens it.
const open = () => { const fold = document.getElementById(location.hash.slice(1))?.closest("details"); if (fold) fold.open = true; };
addEventListener("hashchange", open);
open();
