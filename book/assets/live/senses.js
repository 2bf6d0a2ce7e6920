// One word in the reader's sentence and in eight others: how alike are its vectors, layer by layer?
"use strict";

class SensesWidget extends Widget {
  constructor(place) {
    super(place, "ELMo");
    this.find("select").addEventListener("change", () => this.choose());
    for (const input of place.querySelectorAll("input")) input.addEventListener("input", () => this.show());
  }

  start() {
    this.elmo = new Elmo(globalThis.pretrained.elmo);
    this.uses = globalThis.pretrained.elmo.uses; // by word: two senses, four sentences of each, and one more
    this.find("select").replaceChildren(...Object.keys(this.uses).map((word) => new Option(word)));
    this.choose();
    this.find("select").focus();
  }

  choose() {
    this.word = this.find("select").value;
    this.known = this.uses[this.word].sentences.map((sentence) => this.vectors(sentence));
    this.find("input[type=text]").value = this.uses[this.word].another;
    this.show();
  }

  // The vectors of the word in the three layers, or nothing if the word is not in the sentence.
  vectors(sentence) {
    const pieces = this.elmo.tokenize(sentence).slice(0, 60);
    const at = pieces.indexOf(this.word);
    return at < 0 ? null : this.elmo.layers(pieces).map((layer) => layer[at]);
  }

  show() {
    const yours = this.vectors(this.find("input[type=text]").value);
    const layer = this.find("input[type=radio]:checked").value;
    const { senses, sentences } = this.uses[this.word];
    if (!yours) {
      this.find("output").textContent = `Write a sentence with the word “${this.word}” in it.`;
      this.find("ol").replaceChildren();
      return;
    }
    const cosines = SensesWidget.compare(yours[layer], this.known.map((layers) => layers[layer]));
    const mean = [0, 4].map((start) => cosines.slice(start, start + 4).reduce((sum, cosine) => sum + cosine, 0) / 4);
    const told = senses.map((sense, k) => `“${sense}” ${SensesWidget.written(mean[k])}`);
    this.find("output").textContent = `Mean cosine with ${told.join(", with ")}`;
    const rows = cosines.map((cosine, k) => ({ cosine, sentence: sentences[k], sense: senses[Number(k >= 4)] }));
    rows.sort((one, other) => other.cosine - one.cosine);
    this.find("ol").replaceChildren(...rows.map((row) => this.row(row)));
  }

  // Cosines after the mean of the eight known uses has been taken off.
  static compare(vector, known) {
    const mean = vector.map((_, d) => known.reduce((sum, other) => sum + other[d], 0) / known.length);
    const centered = (x) => x.map((number, d) => number - mean[d]);
    const dot = (x, y) => x.reduce((sum, number, d) => sum + number * y[d], 0);
    const yours = centered(vector);
    return known.map(centered).map((x) => dot(x, yours) / (Math.sqrt(dot(x, x) * dot(yours, yours)) || 1));
  }

  static written(number) {
    return number.toFixed(2).replace("-", "−");
  }

  row({ cosine, sentence, sense }) {
    const { make } = Widget;
    const words = sentence.split(new RegExp(`\\b(${this.word})\\b`));
    const text = make("span", "", ...words.map((part) => (part === this.word ? make("b", "", part) : part)));
    text.append(" ", make("small", "", `(${sense})`));
    return Widget.row(SensesWidget.written(cosine), 50 * Math.abs(cosine), text, cosine < 0 ? "negative" : "positive");
  }
}

for (const place of document.querySelectorAll("[data-live=senses]")) new SensesWidget(place);
