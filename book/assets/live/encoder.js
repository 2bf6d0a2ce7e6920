// The Transformer's encoder in plain JavaScript, as BERT and the Vision Transformer have it: norms inside the branches.
"use strict";

class Encoder extends Model {
  // heads: in each layer. rotary: whether queries and keys are turned by their positions. prefix: of the names.
  constructor(about, { heads, layers, rotary = false, prefix = "" }) {
    super(about);
    Object.assign(this, { heads, layers, rotary, prefix });
  }

  // From T vectors to T vectors, and for each layer and head the table of weights (T, T).
  encode(x) {
    const attentions = [];
    const norm = (name) => x.map((vector) => this.norm(name, vector, 1e-12));
    for (let layer = 0; layer < this.layers; layer += 1) {
      const name = `${this.prefix}layers.${layer}`;
      const { answers, tables } = this.attend(`${name}.attention`, norm(`${name}.attention_norm`));
      attentions.push(tables);
      x = x.map((vector, t) => Model.add(vector, answers[t]));
      const hidden = norm(`${name}.feed_forward_norm`).map((vector) => this.linear(`${name}.feed_forward.expand`, vector));
      x = x.map((vector, t) =>
        Model.add(vector, this.linear(`${name}.feed_forward.contract`, hidden[t].map(Encoder.gelu))));
    }
    return { x: norm(`${this.prefix}final_norm`), attentions };
  }

  // Every vector looks at every other (equation 6.4), with the heads side by side.
  attend(name, x) {
    const D = x[0].length, d = D / this.heads;
    const project = (part) => x.map((vector) => this.linear(`${name}.${part}_projection`, vector));
    const turned = (vectors) => (this.rotary ? vectors.map((vector, t) => Model.turn(vector, t, d)) : vectors);
    const queries = turned(project("query")), keys = turned(project("key")), values = project("value");
    const joined = x.map(() => new Float32Array(D)), tables = [];
    for (let start = 0; start < D; start += d) { // one head after the other
      tables.push(queries.map((query, t) => {
        const scores = keys.map((key) => {
          let sum = 0;
          for (let k = start; k < start + d; k += 1) sum += query[k] * key[k];
          return sum / Math.sqrt(d);
        });
        const row = Model.softmax(scores);
        row.forEach((weight, s) => {
          for (let k = start; k < start + d; k += 1) joined[t][k] += weight * values[s][k];
        });
        return row;
      }));
    }
    return { answers: joined.map((vector) => this.linear(`${name}.output_projection`, vector)), tables };
  }

  // x times the normal distribution's share below x; the error function after Abramowitz and Stegun, 7.1.26.
  static gelu(x) {
    const z = Math.abs(x) / Math.SQRT2, t = 1 / (1 + 0.3275911 * z);
    const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    const erf = 1 - series * Math.exp(-z * z);
    return (x * (1 + (x < 0 ? -erf : erf))) / 2;
  }
}
