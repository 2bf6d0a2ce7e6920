// Chapter 3's WordPiece: words by spaces and punctuation, each cut into the longest pieces that there are.
"use strict";

// ids: a Map from pieces to their numbers.
function wordPieces(text, ids) {
  const parts = text.split(/(\[(?:PAD|UNK|CLS|SEP|MASK)\])/); // every second part is such a token
  return parts.flatMap((part, k) => (k % 2 ? [part] : basicWords(part).flatMap((word) => piecesOf(word, ids))));
}

function basicWords(text) {
  const visible = text.replace(/[\p{Cf}\p{Co}\uFFFD]|(?![\t\n\r])\p{Cc}/gu, "");
  const plain = Array.from(visible, (letter) => letter.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase());
  const sign = "\\p{P}$+<=>^`|~\\p{Unified_Ideograph}";
  return plain.join("").match(new RegExp(`[${sign}]|[^\\s${sign}]+`, "gu")) ?? [];
}

function piecesOf(word, ids) {
  if (word.length > 100) return ["[UNK]"];
  const found = [];
  for (let start = 0; start < word.length; ) {
    let end = word.length;
    const piece = () => (start ? "##" : "") + word.slice(start, end);
    while (end > start && !ids.has(piece())) end -= 1;
    if (end === start) return ["[UNK]"];
    found.push(piece());
    start = end;
  }
  return found;
}
