// A Vision Transformer in plain JavaScript: chapter 10's, on the weights that ship with the book.
"use strict";

class VisionTransformer extends Encoder {
  constructor(about) {
    super(about, { heads: about.config.num_heads, layers: about.config.num_layers });
    this.config = about.config;
    this.side = this.config.image_size / this.config.patch_size; // patches in a row
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
    const D = this.config.d_model;
    const patches = this.patchify(pixels).map((patch) => this.linear("patch_embedding.projection", patch));
    const words = [this.weights.class_token, ...patches];
    const { x, attentions } = this.encode(
      words.map((vector, t) => Model.add(vector, this.weights.positions.subarray(t * D, (t + 1) * D))));
    const logits = this.linear("classifier", x[0]); // of the class token
    return { probabilities: Model.softmax(logits), logits, attentions };
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
}
