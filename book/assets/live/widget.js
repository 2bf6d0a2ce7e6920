// What the widgets in the pages share: the model comes when it is asked for, and what it says is shown in rows.
"use strict";

class Widget {
  // place: an element with a button, a form, and the address of the weights. called: the model, for the reader.
  constructor(place, called) {
    this.place = place;
    this.called = called;
    this.find = (selector) => place.querySelector(selector);
    this.find("form").addEventListener("submit", (event) => event.preventDefault());
    this.button = this.find("button");
    this.button.addEventListener("click", () => this.load());
    this.button.hidden = false;
  }

  // The weights are large, so they come only when somebody wants them; then start() is called.
  async load() {
    this.button.disabled = true;
    this.button.textContent = `${this.called} is loading …`;
    try {
      await new Promise((resolve, reject) => {
        const script = document.createElement("script");
        Object.assign(script, { src: this.place.dataset.weights, onload: resolve, onerror: reject });
        document.head.append(script);
      });
    } catch {
      this.button.disabled = false;
      this.button.textContent = `${this.called} could not be loaded. Try again`;
      return;
    }
    this.button.remove();
    this.find("form").hidden = false;
    this.start();
  }

  static make(name, className, ...inside) {
    const element = Object.assign(document.createElement(name), { className });
    element.append(...inside);
    return element;
  }

  // A line of a list: a number, a bar as wide as so many hundredths of its place, and what it is about.
  static row(number, percent, about, color = "share") {
    const bar = Widget.make("span", "bar", Widget.make("span", color));
    bar.firstChild.style.width = `${percent}%`;
    return Widget.make("li", "", Widget.make("span", "number", number), bar, about);
  }
}
