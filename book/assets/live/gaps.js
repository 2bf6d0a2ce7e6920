// A sentence with gaps: what BERT would put into each of them.
"use strict";

class GapsWidget extends Widget {
  constructor(place) {
    super(place, "BERT");
    this.find("input").addEventListener("input", () => this.show());
    this.find("select").addEventListener("change", () => {
      this.find("input").value = this.find("select").value;
      this.show();
    });
  }

  start() {
    this.bert = new Bert(globalThis.pretrained.bert);
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
      const rows = best.map((id) => {
        const p = probabilities[id];
        return Widget.row(p.toFixed(3), 100 * p, Widget.make("span", "", this.bert.vocabulary[id]));
      });
      lists.append(Widget.make("ol", "", ...rows));
    }
  }
}

for (const place of document.querySelectorAll("[data-live=gaps]")) new GapsWidget(place);
