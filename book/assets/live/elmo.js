// ELMo in plain JavaScript: the two language models of chapter 5, on the weights that ship with the book.
// A matrix is a Float32Array, row by row, with its shape beside it in the comments.
"use strict";

class Elmo {
  // What autograder/in_page.py wrote. halves: all tensors end to end, 16 bits a number, in base64.
  constructor({ tensors, vocabulary, halves }) {
    const characters = atob(halves);
    const numbers = new Float32Array(characters.length / 2);
    for (let k = 0; k < numbers.length; k += 1) {
      numbers[k] = Elmo.fromHalf(characters.charCodeAt(2 * k) + 256 * characters.charCodeAt(2 * k + 1));
    }
    this.weights = {};
    for (const [name, [start, size]] of Object.entries(tensors)) {
      this.weights[name] = numbers.subarray(start, start + size);
    }
    this.ids = new Map(vocabulary.map((piece, id) => [piece, id]));
    this.vocabulary = vocabulary;
    this.width = this.weights["token_encoder.weight"].length / vocabulary.length; // D
  }

  // A number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
  static fromHalf(half) {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
  }

  // Chapter 3's WordPiece: words by spaces and punctuation, each cut into the longest pieces that there are.
  tokenize(text) {
    const parts = text.split(/(\[(?:PAD|UNK|CLS|SEP|MASK)\])/); // every second part is such a token
    return parts.flatMap((part, k) => (k % 2 ? [part] : this.words(part).flatMap((word) => this.pieces(word))));
  }

  words(text) {
    const visible = text.replace(/[\p{Cf}\p{Co}\uFFFD]|(?![\t\n\r])\p{Cc}/gu, "");
    const plain = Array.from(visible, (letter) => letter.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase());
    const sign = "\\p{P}$+<=>^`|~\\p{Unified_Ideograph}";
    return plain.join("").match(new RegExp(`[${sign}]|[^\\s${sign}]+`, "gu")) ?? [];
  }

  pieces(word) {
    if (word.length > 100) return ["[UNK]"];
    const found = [];
    for (let start = 0; start < word.length; ) {
      let end = word.length;
      const piece = () => (start ? "##" : "") + word.slice(start, end);
      while (end > start && !this.ids.has(piece())) end -= 1;
      if (end === start) return ["[UNK]"];
      found.push(piece());
      start = end;
    }
    return found;
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
