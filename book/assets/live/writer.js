// A prompt continued token by token: what may come next, and how likely it is, under the reader's settings.
"use strict";

class WriterWidget extends Widget {
  constructor(place) {
    super(place, "GPT");
    this.find("form").addEventListener("submit", () => {
      this.stop();
      this.draw();
    });
    this.find("[type=text]").addEventListener("input", () => this.begin());
    for (const input of place.querySelectorAll("[type=number]")) input.addEventListener("input", () => this.show());
    this.find("input[type=button]").addEventListener("click", () => (this.timer ? this.stop() : this.write()));
  }

  start() {
    this.gpt = new Gpt(globalThis.pretrained.gpt);
    this.begin();
    this.find("[type=text]").focus();
  }

  // Read the prompt anew. Where there is none, a text begins.
  begin() {
    this.stop();
    this.gpt.forget();
    const pieces = this.gpt.tokenize(this.find("[type=text]").value).slice(-this.gpt.contextSize / 2);
    this.pieces = pieces.length ? pieces : ["[SEP]"];
    this.given = this.pieces.length;
    for (const piece of this.pieces) this.logits = this.gpt.read(this.gpt.ids.get(piece));
    this.show();
  }

  settings() {
    const within = (name, least, most, otherwise) => {
      const number = this.find(`[name=${name}]`).valueAsNumber;
      return Number.isFinite(number) ? Math.min(most, Math.max(least, number)) : otherwise;
    };
    const V = this.gpt.vocabulary.length;
    return { temperature: within("temperature", 0, 5, 1), topK: Math.round(within("topK", 1, V, V)), topP: within("topP", 0, 1, 1) };
  }

  draw(chance = Math.random()) {
    if (this.pieces.length >= this.gpt.contextSize) return false;
    const id = Gpt.draw(Gpt.choices(this.logits, this.settings()), chance);
    this.pieces.push(this.gpt.vocabulary[id]);
    this.logits = this.gpt.read(id);
    this.show();
    return true;
  }

  write(count = 40) {
    this.find("input[type=button]").value = "Stop";
    this.timer = setInterval(() => {
      count -= 1;
      if (!this.draw() || count <= 0) this.stop();
    }, 60);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.find("input[type=button]").value = "Write 40 tokens";
  }

  show() {
    const text = (pieces) => pieces.join(" ").replaceAll(" ##", "");
    const written = text(this.pieces).slice(text(this.pieces.slice(0, this.given)).length);
    const choices = Gpt.choices(this.logits, this.settings());
    const full = this.pieces.length >= this.gpt.contextSize;
    const note = full
      ? `The context of ${this.gpt.contextSize} tokens is full.`
      : `May come next: ${choices.length.toLocaleString("en")} of ${this.gpt.vocabulary.length.toLocaleString("en")} tokens.`;
    const { make } = Widget;
    const output = this.find("output");
    output.replaceChildren(text(this.pieces.slice(0, this.given)), make("b", "", written), make("br", ""), make("small", "", note));
    const rows = choices.slice(0, 8).map(([id, p]) =>
      Widget.row(p.toFixed(3), 100 * p, make("span", "", this.gpt.vocabulary[id])));
    this.find("ol").replaceChildren(...(full ? [] : rows));
  }
}

for (const place of document.querySelectorAll("[data-live=writer]")) new WriterWidget(place);
