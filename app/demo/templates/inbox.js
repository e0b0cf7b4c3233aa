"use strict";
const main = document.querySelector("main");
const state = document.getElementById("state");
let newest = Math.max(0, ...[...document.querySelectorAll("article")].map(each => Number(each.dataset.number)));

function count() {
  for (const lane of ["slack", "webhook"])
    document.getElementById(lane + "-count").textContent = document.getElementById(lane).childElementCount;
}

function say(word, kind) {
  state.textContent = word;
  state.className = "state " + kind;
}

async function look() {
  try {
    const answer = await fetch("/feed?after=" + newest);
    for (const card of (await answer.json()).cards) {
      const holder = document.createElement("template");
      holder.innerHTML = card.html;  // made and escaped by the same template as this page
      const article = holder.content.querySelector("article");
      article.classList.add("new");
      document.getElementById(card.to).prepend(article);
      newest = card.number;
    }
    say("live", "live");
    count();
  } catch {
    say("the demo has ended", "ended");
  }
  setTimeout(look, 1000);
}

for (const button of document.querySelectorAll("[data-show]"))
  button.addEventListener("click", () => {
    main.dataset.shown = button.dataset.show;
    for (const each of document.querySelectorAll("[data-show]"))
      each.setAttribute("aria-pressed", String(each === button));
  });

count();
setTimeout(look, 1000);
