// What every model in a page has: its weights as numbers, and the three things that all of them compute.
// A vector is an array of numbers; a matrix is a Float32Array, row by row, with its shape beside it in the comments.
"use strict";

class Model {
  // What autograder/in_page.py wrote. halves: all tensors end to end, 16 bits a number, in base64.
  constructor({ tensors, vocabulary, halves }) {
    const characters = atob(halves);
    const numbers = new Float32Array(characters.length / 2);
    for (let k = 0; k < numbers.length; k += 1) {
      numbers[k] = Model.fromHalf(characters.charCodeAt(2 * k) + 256 * characters.charCodeAt(2 * k + 1));
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

  linear(name, x) {
    return Model.add(Model.times(this.weights[`${name}.weight`], x), this.weights[`${name}.bias`]);
  }

  norm(name, x, eps) {
    const mean = x.reduce((sum, number) => sum + number, 0) / x.length;
    const variance = x.reduce((sum, number) => sum + (number - mean) ** 2, 0) / x.length;
    const gain = this.weights[`${name}.weight`], shift = this.weights[`${name}.bias`];
    return x.map((number, i) => ((number - mean) / Math.sqrt(variance + eps)) * gain[i] + shift[i]);
  }

  // Rotary positions: feature i of each head and the one half a head further are turned together.
  static turn(x, position, headSize) {
    const half = headSize / 2, turned = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += headSize) {
      for (let i = 0; i < half; i += 1) {
        const angle = position / 10000 ** (i / half), cos = Math.cos(angle), sin = Math.sin(angle);
        const a = x[start + i], b = x[start + half + i];
        turned[start + i] = a * cos - b * sin;
        turned[start + half + i] = b * cos + a * sin;
      }
    }
    return turned;
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

  static softmax(scores) {
    const most = scores.reduce((a, b) => Math.max(a, b));
    const powers = Array.from(scores, (score) => Math.exp(score - most));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  }
}
