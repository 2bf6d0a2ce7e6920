// A sentence with gaps: what BERT would put into each of them.
"use strict";

class GapsWidget {
  constructor(place) {
    this.place = place;
    this.find = (selector) => place.querySelector(selector);
    this.find("form").addEventListener("submit", (event) => event.preventDefault());
    this.find("input").addEventListener("input", () => this.show());
    this.find("select").addEventListener("change", () => {
      this.find("input").value = this.find("select").value;
      this.show();
    });
    this.find("button").addEventListener("click", () => this.load());
    this.find("button").hidden = false;
  }

  async load() {
    if (!(await Model.fetch(this.place, this.find("button"), "BERT"))) return;
    this.bert = new Bert(globalThis.pretrained.bert);
    this.find("form").hidden = false;
    this.show();
    this.find("input").focus();
  }

  show() {
    // Words that are put between underscores or dots, and the sign in any letters, are gaps as well.
    const text = this.find("input").value.replace(/\[mask\]|_{2,}|…|\.{3,}/gi, " [MASK] ");
    const pieces = this.bert.tokenize(text);
    const output = this.find("output"), lists = this.find(".gaps");
    lists.replaceChildren();
    if (!pieces.includes("[MASK]")) {
      output.textContent = "There is no gap: write [MASK], or ___, in the place of a word.";
      return;
    }
    if (pieces.length > 60) {
      output.textContent = "That is too long for this page: 60 pieces are read at most.";
      return;
    }
    output.textContent = pieces.join(" ").replaceAll(" ##", "");
    for (const probabilities of this.bert.fill(["[SEP]", ...pieces, "[SEP]"])) {
      const best = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 6);
      const list = document.createElement("ol");
      for (const id of best) list.append(this.row(this.bert.vocabulary[id], probabilities[id]));
      lists.append(list);
    }
  }

  row(piece, probability) {
    const row = document.createElement("li"), number = document.createElement("span");
    const bar = document.createElement("span"), share = document.createElement("span"), word = document.createElement("span");
    Object.assign(number, { className: "number", textContent: probability.toFixed(3) });
    bar.className = "bar";
    share.className = "share";
    share.style.width = `${100 * probability}%`;
    word.textContent = piece;
    bar.append(share);
    row.append(number, bar, word);
    return row;
  }
}

for (const place of document.querySelectorAll("[data-live=gaps]")) new GapsWidget(place);
