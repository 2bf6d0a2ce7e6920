// ELMo in plain JavaScript: the two language models of chapter 5, on the weights that ship with the book.
"use strict";

class Elmo extends Model {
  constructor(about) {
    super(about);
    this.width = this.weights["token_encoder.weight"].length / this.vocabulary.length; // D
  }

  tokenize(text) {
    return wordPieces(text, this.ids);
  }

  // The three layers at each piece: layers[j][t] has 2D numbers, the forward direction's first.
  layers(pieces) {
    const D = this.width;
    const table = this.weights["token_encoder.weight"];
    const tokens = pieces.map((piece) => table.subarray(this.ids.get(piece) * D, (this.ids.get(piece) + 1) * D));
    const forward = this.read("forward_model", tokens);
    const backward = this.read("backward_model", tokens.toReversed()).map((layer) => layer.toReversed());
    const both = (left, right) => left.map((x, t) => Float32Array.from([...x, ...right[t]]));
    return [both(tokens, tokens), both(forward[0], backward[0]), both(forward[1], backward[1])];
  }

  // Two LSTMs, one above the other; the second adds to its input (equation 5.1 is trained on its outputs).
  read(direction, tokens) {
    const first = this.lstm(`${direction}.lstms.0`, tokens);
    const second = this.lstm(`${direction}.lstms.1`, first).map((h, t) => h.map((number, d) => number + first[t][d]));
    return [first, second];
  }

  lstm(name, inputs) {
    const D = this.width, part = (suffix) => this.weights[`${name}.${suffix}_l0`];
    const [W, U, b, d] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(part);
    const sigmoid = (x) => 1 / (1 + Math.exp(-x));
    let h = new Float32Array(D), c = new Float32Array(D);
    return inputs.map((x) => {
      const gates = new Float32Array(4 * D); // i, f, g, o, each of D numbers
      for (let row = 0; row < 4 * D; row += 1) {
        let sum = b[row] + d[row];
        for (let k = 0; k < D; k += 1) sum += W[row * D + k] * x[k] + U[row * D + k] * h[k];
        gates[row] = sum;
      }
      c = c.map((old, k) => sigmoid(gates[D + k]) * old + sigmoid(gates[k]) * Math.tanh(gates[2 * D + k]));
      h = c.map((memory, k) => sigmoid(gates[3 * D + k]) * Math.tanh(memory));
      return h;
    });
  }
}
