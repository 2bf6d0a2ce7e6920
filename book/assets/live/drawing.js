// A digit drawn by hand, cut into patches and read by the Vision Transformer of chapter 10.
"use strict";

class DrawingWidget extends Widget {
  constructor(place) {
    super(place, "The model");
    this.find("select").addEventListener("change", () => this.choose());
    this.find("[name=patches]").addEventListener("change", () => this.show());
    this.find("[name=clear]").addEventListener("click", () => this.clear());
  }

  start() {
    this.model = new VisionTransformer(globalThis.pretrained.vit);
    this.examples = globalThis.pretrained.vit.examples; // digits of the test part, 0 to 255, row by row
    const options = this.examples.map((example, k) => new Option(`${k + 1}: a ${example.label}`, k));
    this.find("select").append(...options);
    this.ink = this.find("canvas.ink");
    this.listen();
    this.find("select").value = "0";
    this.choose();
  }

  // Strokes on the canvas, with a mouse, a pen or a finger.
  listen() {
    const pen = this.ink.getContext("2d");
    const at = (event) => {
      const box = this.ink.getBoundingClientRect(), scale = this.ink.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    };
    this.ink.addEventListener("pointerdown", (event) => {
      if (this.isExample) this.clear();
      this.ink.setPointerCapture(event.pointerId);
      Object.assign(pen, { lineWidth: this.ink.width / 14, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
      this.last = at(event);
      this.lineTo(pen, this.last);
    });
    this.ink.addEventListener("pointermove", (event) => {
      if (this.last) this.lineTo(pen, at(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.ink.addEventListener(end, () => {
        this.last = null;
        this.show();
      });
    }
  }

  lineTo(pen, point) {
    pen.beginPath();
    pen.moveTo(...this.last);
    pen.lineTo(...point);
    pen.stroke();
    this.last = point;
  }

  clear() {
    this.isExample = false;
    this.find("select").value = "";
    this.ink.getContext("2d").clearRect(0, 0, this.ink.width, this.ink.height);
    this.show();
  }

  // A digit of the test part is laid on the canvas as it is.
  choose() {
    if (this.find("select").value === "") return this.clear();
    this.isExample = true;
    this.pixels = this.examples[this.find("select").value].pixels.map((gray) => gray / 255);
    this.paint(this.ink, this.pixels, 28);
    this.show();
    return undefined;
  }

  paint(canvas, pixels, side) {
    const pen = canvas.getContext("2d"), size = canvas.width / side;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pixels.forEach((gray, k) => {
      pen.fillStyle = `rgba(255, 255, 255, ${gray})`;
      pen.fillRect((k % side) * size, Math.floor(k / side) * size, size, size);
    });
  }

  // How much ink there is at each point of the canvas, from 0 to 1.
  drawn() {
    const { width, height } = this.ink, bytes = this.ink.getContext("2d").getImageData(0, 0, width, height).data;
    return Float32Array.from({ length: width * height }, (_, k) => bytes[4 * k + 3] / 255);
  }

  // As the pictures of MNIST were made: the longer side is brought to 20 pixels, and the center of gravity to the middle
  // of 28 × 28. Gives null if there is no ink.
  static normalize(ink, width) {
    let [left, right, top, bottom, mass, x, y] = [Infinity, -Infinity, Infinity, -Infinity, 0, 0, 0];
    ink.forEach((amount, k) => {
      if (amount < 0.1) return;
      const column = k % width, row = Math.floor(k / width);
      [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
      [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
      [mass, x, y] = [mass + amount, x + amount * (column + 0.5), y + amount * (row + 0.5)];
    });
    if (!mass) return null;
    const size = Math.max(right - left, bottom - top, width / 7) / 20; // points of the canvas to a pixel
    const pixels = new Array(28 * 28).fill(0);
    for (let row = 0; row < 28; row += 1) {
      for (let column = 0; column < 28; column += 1) {
        const [x0, y0] = [x / mass + (column - 14) * size, y / mass + (row - 14) * size];
        let sum = 0, count = 0;
        for (let v = 0.5; v < size; v += 1) {
          for (let u = 0.5; u < size; u += 1) {
            const [across, down] = [Math.floor(x0 + u), Math.floor(y0 + v)];
            const inside = across >= 0 && across < width && down >= 0 && down < ink.length / width;
            sum += inside ? ink[down * width + across] : 0;
            count += 1;
          }
        }
        pixels[row * 28 + column] = sum / count;
      }
    }
    return pixels;
  }

  show() {
    if (!this.isExample) this.pixels = DrawingWidget.normalize(this.drawn(), this.ink.width);
    const seen = this.find("canvas.seen");
    if (!this.pixels) {
      seen.getContext("2d").clearRect(0, 0, seen.width, seen.height);
      this.find("output").textContent = "Draw a digit in the left square.";
      this.find("ol").replaceChildren();
      return;
    }
    const { probabilities, attentions } = this.model.read(this.pixels);
    const shares = VisionTransformer.rollout(attentions);
    this.paint(seen, this.pixels, 28);
    if (this.find("[name=patches]").checked) this.overlay(seen, shares);
    const best = probabilities.indexOf(Math.max(...probabilities));
    this.find("output").textContent = `This is a ${best}, with a probability of ${probabilities[best].toFixed(2)}.`;
    this.find("ol").replaceChildren(...probabilities.map((probability, digit) =>
      Widget.row(String(digit), 100 * probability, Widget.make("span", "", probability.toFixed(3)))));
  }

  // The patches, the more orange the more of them has reached the class token.
  overlay(canvas, shares) {
    const pen = canvas.getContext("2d"), side = this.model.side, size = canvas.width / side, most = Math.max(...shares);
    shares.forEach((share, n) => {
      const [x, y] = [(n % side) * size, Math.floor(n / side) * size];
      pen.fillStyle = `rgba(255, 120, 0, ${(0.75 * share) / most})`;
      pen.fillRect(x, y, size, size);
      pen.strokeStyle = "#777";
      pen.strokeRect(x, y, size, size);
    });
  }
}

for (const place of document.querySelectorAll("[data-live=drawing]")) new DrawingWidget(place);
