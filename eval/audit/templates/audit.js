"use strict";
// Filter the table of classes by the words typed, and sort it by the column clicked.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const body = document.querySelector("#classes tbody");
const rows = [...body.rows].map((row) => ({ row, text: plain(row.cells[0].textContent), cells: [...row.cells].map((cell) => cell.textContent) }));
const words = document.getElementById("words");
const found = document.getElementById("found");

function show() {
  const typed = plain(words.value).split(/\s+/);
  let count = 0;
  for (const one of rows) {
    const fits = typed.every((word) => one.text.includes(word));
    one.row.hidden = !fits;
    count += fits;
  }
  found.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} classes`;
}

// numbers fall, texts rise; cells without a number come last
const compare = (column) => (a, b) => {
  const [x, y] = [a, b].map((one) => (column < 2 ? NaN : parseFloat(one.cells[column])));
  if (column < 2) return a.cells[column].localeCompare(b.cells[column], "en");
  return (Number.isNaN(y) ? -1 : y) - (Number.isNaN(x) ? -1 : x) || a.text.localeCompare(b.text, "en");
};

for (const button of document.querySelectorAll("#classes th button")) {
  button.addEventListener("click", () => {
    const column = Number(button.dataset.column);
    for (const head of document.querySelectorAll("#classes th")) head.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", column < 2 ? "ascending" : "descending");
    body.append(...rows.sort(compare(column)).map((one) => one.row));
  });
}
document.querySelector("form").hidden = false; // without a script there is nothing to search with
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
words.addEventListener("input", show);
show();
