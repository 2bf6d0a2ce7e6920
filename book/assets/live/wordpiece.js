// What every model of the family needs in a page: its weights as numbers, and chapter 3's WordPiece.
"use strict";

class WordPieceModel {
  // What autograder/in_page.py wrote. halves: all tensors end to end, 16 bits a number, in base64.
  constructor({ tensors, vocabulary, halves }) {
    const characters = atob(halves);
    const numbers = new Float32Array(characters.length / 2);
    for (let k = 0; k < numbers.length; k += 1) {
      numbers[k] = WordPieceModel.fromHalf(characters.charCodeAt(2 * k) + 256 * characters.charCodeAt(2 * k + 1));
    }
    this.weights = {};
    for (const [name, [start, size]] of Object.entries(tensors)) {
      this.weights[name] = numbers.subarray(start, start + size);
    }
    this.ids = new Map(vocabulary.map((piece, id) => [piece, id]));
    this.vocabulary = vocabulary;
  }

  // A number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
  static fromHalf(half) {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
  }

  // Words by spaces and punctuation, each cut into the longest pieces that there are.
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
}
