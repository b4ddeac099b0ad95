"use strict";
// Show the classes whose label or sources contain all typed words, in the chosen category and order.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const main = document.querySelector("main");
const classes = [...main.children].map((article) => ({
  article,
  category: article.dataset.category,
  index: Number(article.dataset.index),
  images: Number(article.dataset.images),
  text: plain(article.querySelector("h2").textContent + " " + article.querySelector(".sources").textContent),
}));
const orders = {
  index: (a, b) => a.index - b.index,
  images: (a, b) => b.images - a.images || a.index - b.index,
  fewest: (a, b) => a.images - b.images || a.index - b.index,
};
const form = document.querySelector("form");
const [words, category, order, found] = ["words", "category", "order", "found"].map((id) => document.getElementById(id));

function show() {
  const typed = plain(words.value).split(/\s+/);
  let count = 0;
  for (const one of classes) {
    const fits = (!category.value || one.category === category.value) && typed.every((word) => one.text.includes(word));
    one.article.hidden = !fits;
    count += fits;
  }
  found.textContent = `${count.toLocaleString("en")} of ${classes.length.toLocaleString("en")} classes`;
  document.getElementById("nothing").hidden = count > 0;
}

form.hidden = false; // without a script there is nothing to search with
form.addEventListener("submit", (event) => event.preventDefault());
words.addEventListener("input", show);
category.addEventListener("change", show);
order.addEventListener("change", () => main.append(...classes.sort(orders[order.value]).map((one) => one.article)));
show();
