// GPT in plain JavaScript: chapter 9's decoder with its key-value cache, on the weights that ship with the book.
// It reads one token at a time. A matrix is a Float32Array, row by row, with its shape beside it in the comments.
"use strict";

class Gpt extends WordPieceModel {
  constructor(about) {
    super(about);
    this.heads = about.heads;
    this.contextSize = about.context;
    this.width = this.weights["final_norm.weight"].length; // D
    this.layers = Object.keys(this.weights).filter((name) => name.endsWith("attention_norm.weight")).length;
    this.forget();
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
      x = Gpt.add(x, this.attend(name, this.cache[k], this.norm(`${name}.attention_norm`, x)));
      const hidden = this.linear(`${name}.feed_forward.0`, this.norm(`${name}.feed_forward_norm`, x)).map(Gpt.gelu);
      x = Gpt.add(x, this.linear(`${name}.feed_forward.2`, hidden));
    }
    return Gpt.times(table, this.norm("final_norm", x));
  }

  // The new token's query looks at all keys that are kept, its own among them.
  attend(name, { keys, values }, x) {
    const D = this.width, d = D / this.heads;
    const qkv = this.linear(`${name}.attention.query_key_value_projection`, x); // (3D)
    const query = this.turn(qkv.subarray(0, D), keys.length);
    keys.push(this.turn(qkv.subarray(D, 2 * D), keys.length));
    values.push(qkv.subarray(2 * D));
    const seen = new Float32Array(D);
    for (let start = 0; start < D; start += d) { // one head after the other
      const scores = keys.map((key) => {
        let sum = 0;
        for (let i = start; i < start + d; i += 1) sum += query[i] * key[i];
        return sum / Math.sqrt(d);
      });
      Gpt.softmax(scores).forEach((weight, s) => {
        for (let i = start; i < start + d; i += 1) seen[i] += weight * values[s][i];
      });
    }
    return this.linear(`${name}.attention.output_projection`, seen);
  }

  // Rotary positions: feature i of each head and the one half a head further are turned together.
  turn(x, position) {
    const d = this.width / this.heads, half = d / 2, turned = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += d) {
      for (let i = 0; i < half; i += 1) {
        const angle = position / 10000 ** (i / half), cos = Math.cos(angle), sin = Math.sin(angle);
        const a = x[start + i], b = x[start + half + i];
        turned[start + i] = a * cos - b * sin;
        turned[start + half + i] = b * cos + a * sin;
      }
    }
    return turned;
  }

  norm(name, x) {
    const mean = x.reduce((sum, number) => sum + number, 0) / x.length;
    const variance = x.reduce((sum, number) => sum + (number - mean) ** 2, 0) / x.length;
    const gain = this.weights[`${name}.weight`], shift = this.weights[`${name}.bias`];
    return x.map((number, i) => ((number - mean) / Math.sqrt(variance + 1e-5)) * gain[i] + shift[i]);
  }

  linear(name, x) {
    return Gpt.add(Gpt.times(this.weights[`${name}.weight`], x), this.weights[`${name}.bias`]);
  }

  // (rows, columns) times (columns).
  static times(matrix, x) {
    const result = new Float32Array(matrix.length / x.length);
    for (let row = 0, k = 0; row < result.length; row += 1) {
      let sum = 0;
      for (let i = 0; i < x.length; i += 1, k += 1) sum += matrix[k] * x[i];
      result[row] = sum;
    }
    return result;
  }

  static add(x, y) {
    return x.map((number, i) => number + y[i]);
  }

  static gelu(x) {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }

  static softmax(scores) {
    const most = scores.reduce((a, b) => Math.max(a, b));
    const powers = Array.from(scores, (score) => Math.exp(score - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  }

  // The tokens that may be drawn, as [id, probability], the likeliest first: temperature, then top-k, then top-p.
  static choices(logits, { temperature, topK, topP }) {
    const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
    if (temperature === 0) return [[order[0], 1]];
    const kept = order.slice(0, topK);
    const p = Gpt.softmax(kept.map((id) => logits[id] / temperature));
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
