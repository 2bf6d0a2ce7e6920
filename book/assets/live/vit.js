// A Vision Transformer in plain JavaScript: chapter 10's, on the weights that ship with the book.
// A vector is an array of numbers; a matrix is a Float32Array, row by row, with its shape beside it in the comments.
"use strict";

class VisionTransformer {
  // What autograder/in_page.py wrote. halves: all tensors end to end, 16 bits a number, in base64.
  constructor({ tensors, halves, config }) {
    const characters = atob(halves);
    const numbers = new Float32Array(characters.length / 2);
    for (let k = 0; k < numbers.length; k += 1) {
      numbers[k] = VisionTransformer.fromHalf(characters.charCodeAt(2 * k) + 256 * characters.charCodeAt(2 * k + 1));
    }
    this.weights = {};
    for (const [name, [start, size]] of Object.entries(tensors)) {
      this.weights[name] = numbers.subarray(start, start + size);
    }
    this.config = config;
    this.side = config.image_size / config.patch_size; // patches in a row
  }

  // A number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
  static fromHalf(half) {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
  }

  // The picture, row by row, cut into patches: N arrays of p · p numbers.
  patchify(pixels) {
    const { image_size: width, patch_size: p } = this.config;
    return Array.from({ length: this.side ** 2 }, (_, n) => {
      const top = p * Math.floor(n / this.side), left = p * (n % this.side);
      return Array.from({ length: p * p }, (_, k) => pixels[(top + Math.floor(k / p)) * width + left + (k % p)]);
    });
  }

  // Probabilities of the classes, and for each layer and head the table of weights.
  read(pixels) {
    const { d_model: D, num_layers: layers } = this.config;
    const patches = this.patchify(pixels).map((patch) => this.linear("patch_embedding.projection", patch));
    let x = [Array.from(this.weights.class_token), ...patches];
    x = x.map((vector, t) => vector.map((number, d) => number + this.weights.positions[t * D + d]));
    const attentions = [];
    for (let layer = 0; layer < layers; layer += 1) {
      const name = `layers.${layer}`;
      const found = this.attend(`${name}.attention`, x.map((vector) => this.norm(`${name}.attention_norm`, vector)));
      attentions.push(found.heads);
      x = x.map((vector, t) => VisionTransformer.add(vector, found.answers[t]));
      x = x.map((vector) => {
        const hidden = this.linear(`${name}.feed_forward.expand`, this.norm(`${name}.feed_forward_norm`, vector));
        return VisionTransformer.add(vector, this.linear(`${name}.feed_forward.contract`, hidden.map(VisionTransformer.gelu)));
      });
    }
    const logits = this.linear("classifier", this.norm("final_norm", x[0])); // of the class token
    return { probabilities: VisionTransformer.softmax(logits), logits, attentions };
  }

  // Every vector looks at every other (equation 6.4), with the heads side by side.
  attend(name, x) {
    const { d_model: D, num_heads: H } = this.config, d = D / H;
    const [queries, keys, values] = ["query", "key", "value"].map((part) =>
      x.map((vector) => this.linear(`${name}.${part}_projection`, vector)));
    const joined = x.map(() => new Array(D).fill(0)), heads = [];
    for (let head = 0; head < H; head += 1) {
      heads.push(queries.map((query, t) => {
        const scores = keys.map((key) => {
          let sum = 0;
          for (let k = head * d; k < (head + 1) * d; k += 1) sum += query[k] * key[k];
          return sum / Math.sqrt(d);
        });
        const row = VisionTransformer.softmax(scores);
        row.forEach((weight, s) => {
          for (let k = head * d; k < (head + 1) * d; k += 1) joined[t][k] += weight * values[s][k];
        });
        return row;
      }));
    }
    return { answers: joined.map((vector) => this.linear(`${name}.output_projection`, vector)), heads };
  }

  // Attention rollout: in each layer half of a vector is its own, half what the mean of its heads looks at.
  static rollout(attentions) {
    const T = attentions[0][0].length;
    let through = Array.from({ length: T }, (_, t) => Array.from({ length: T }, (_, s) => Number(s === t)));
    for (const heads of attentions) {
      through = through.map((own, t) => own.map((share, s) => {
        let seen = 0;
        for (const head of heads) for (let u = 0; u < T; u += 1) seen += (head[t][u] * through[u][s]) / heads.length;
        return (share + seen) / 2;
      }));
    }
    return through[0].slice(1); // the class token's row, without itself
  }

  linear(name, x) {
    const W = this.weights[`${name}.weight`], b = this.weights[`${name}.bias`];
    return Array.from(b, (bias, row) => {
      let sum = bias;
      for (let k = 0; k < x.length; k += 1) sum += W[row * x.length + k] * x[k];
      return sum;
    });
  }

  norm(name, x) {
    const gain = this.weights[`${name}.weight`], bias = this.weights[`${name}.bias`];
    const mean = x.reduce((sum, number) => sum + number, 0) / x.length;
    const variance = x.reduce((sum, number) => sum + (number - mean) ** 2, 0) / x.length;
    const size = Math.sqrt(variance + this.config.layer_norm_eps);
    return x.map((number, d) => (gain[d] * (number - mean)) / size + bias[d]);
  }

  static add(x, y) {
    return x.map((number, d) => number + y[d]);
  }

  static softmax(scores) {
    const most = Math.max(...scores), powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  }

  // x times the normal distribution's share below x; the error function after Abramowitz and Stegun, 7.1.26.
  static gelu(x) {
    const z = Math.abs(x) / Math.SQRT2, t = 1 / (1 + 0.3275911 * z);
    const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    const erf = 1 - series * Math.exp(-z * z);
    return (x * (1 + (x < 0 ? -erf : erf))) / 2;
  }
}
