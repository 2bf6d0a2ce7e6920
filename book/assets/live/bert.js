// BERT in plain JavaScript: chapter 8's encoder and its head for gaps, on the weights that ship with the book.
"use strict";

class Bert extends Encoder {
  constructor(about) {
    super(about, { heads: about.heads, layers: about.layers, rotary: true, prefix: "bert." });
    this.width = this.weights["bert.final_norm.weight"].length; // D
  }

  tokenize(text) {
    return wordPieces(text, this.ids);
  }

  // What may stand in each gap: for every [MASK] among the pieces the probabilities of all tokens (V).
  fill(pieces) {
    const D = this.width, table = this.weights["bert.embeddings.word_embedding.weight"]; // (V, D)
    const segment = this.weights["bert.embeddings.segment_embedding.weight"].subarray(0, D); // of a first sentence
    const rows = pieces.map((piece) => table.subarray(this.ids.get(piece) * D, (this.ids.get(piece) + 1) * D));
    const { x } = this.encode(rows.map((row) => this.norm("bert.embeddings.norm", Model.add(row, segment), 1e-12)));
    return pieces.flatMap((piece, t) => (piece === "[MASK]" ? [this.guess(x[t], table)] : []));
  }

  // The head: one more layer, then the comparison with the table of embeddings.
  guess(vector, table) {
    const hidden = this.linear("masked_lm_head.dense", vector).map(Encoder.gelu);
    const logits = Model.times(table, this.norm("masked_lm_head.norm", hidden, 1e-12));
    return Model.softmax(Model.add(logits, this.weights["masked_lm_head.bias"]));
  }
}
