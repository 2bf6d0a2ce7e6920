// GPT in plain JavaScript: chapter 9's decoder with its key-value cache, on the weights that ship with the book.
// It reads one token at a time.
"use strict";

class Gpt extends Model {
  constructor(about) {
    super(about);
    this.heads = about.heads;
    this.contextSize = about.context;
    this.width = this.weights["final_norm.weight"].length; // D
    this.layers = Object.keys(this.weights).filter((name) => name.endsWith("attention_norm.weight")).length;
    this.forget();
  }

  tokenize(text) {
    return wordPieces(text, this.ids);
  }

  // An empty cache: for each layer the keys and the values of the tokens read so far.
  forget() {
    this.cache = Array.from({ length: this.layers }, () => ({ keys: [], values: [] }));
  }

  // Read one more token; returns the logits (V) of the next.
  read(id) {
    const D = this.width, table = this.weights["token_embedding.weight"]; // (V, D)
    let x = table.slice(id * D, (id + 1) * D);
    for (let k = 0; k < this.layers; k += 1) {
      const name = `layers.${k}`;
      x = Model.add(x, this.attend(name, this.cache[k], this.norm(`${name}.attention_norm`, x, 1e-5)));
      const hidden = this.linear(`${name}.feed_forward.0`, this.norm(`${name}.feed_forward_norm`, x, 1e-5)).map(Gpt.gelu);
      x = Model.add(x, this.linear(`${name}.feed_forward.2`, hidden));
    }
    return Model.times(table, this.norm("final_norm", x, 1e-5));
  }

  // The new token's query looks at all keys that are kept, its own among them.
  attend(name, { keys, values }, x) {
    const D = this.width, d = D / this.heads;
    const qkv = this.linear(`${name}.attention.query_key_value_projection`, x); // (3D)
    const query = Model.turn(qkv.subarray(0, D), keys.length, d);
    keys.push(Model.turn(qkv.subarray(D, 2 * D), keys.length, d));
    values.push(qkv.subarray(2 * D));
    const seen = new Float32Array(D);
    for (let start = 0; start < D; start += d) { // one head after the other
      const scores = keys.map((key) => {
        let sum = 0;
        for (let i = start; i < start + d; i += 1) sum += query[i] * key[i];
        return sum / Math.sqrt(d);
      });
      Model.softmax(scores).forEach((weight, s) => {
        for (let i = start; i < start + d; i += 1) seen[i] += weight * values[s][i];
      });
    }
    return this.linear(`${name}.attention.output_projection`, seen);
  }

  static gelu(x) {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }

  // The tokens that may be drawn, as [id, probability], the likeliest first: temperature, then top-k, then top-p.
  static choices(logits, { temperature, topK, topP }) {
    const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
    if (temperature === 0) return [[order[0], 1]];
    const kept = order.slice(0, topK);
    const p = Model.softmax(kept.map((id) => logits[id] / temperature));
    let count = 0, sum = 0;
    while (count < kept.length && sum < topP) sum += p[count++];
    return kept.slice(0, Math.max(1, count)).map((id, k) => [id, p[k] / (count ? sum : p[0])]);
  }

  // chance: a number from 0 to 1.
  static draw(choices, chance) {
    for (const [id, p] of choices) {
      if (chance < p) return id;
      chance -= p;
    }
    return choices.at(-1)[0];
  }
}
