// What all panels share: elements that hold data as text and never as markup, questions to the kernel and their
// answers, axes of a picture. It stands before the script of each panel, in one module with it.

// Milliseconds until a late answer is spoken of.
const LATE = 4000;
const BUSY = "The kernel has not answered yet. If it was restarted, run the cell again.";
const SVG = "http://www.w3.org/2000/svg";

// What makes elements and buttons whose classes begin with a prefix.
const makers = (prefix) => {
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = `${prefix}-${className}`;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const button = (text, act, className) => {
    const made = element("button", className, text);
    made.type = "button";
    made.onclick = act;
    return made;
  };
  return { element, button };
};

const drawn = (name, values, text) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

const labelled = (input, label) => {
  input.setAttribute("aria-label", label);
  return input;
};

const optionOf = (value, text, chosen) => {
  const made = document.createElement("option");
  made.textContent = text;
  made.value = value;
  made.selected = value === chosen;
  return made;
};

// The frame of a panel, which has the style that all share.
const rootOf = (className) => {
  const made = document.createElement("div");
  made.className = `llmops-panel ${className}`;
  return made;
};

// A line that a screen reader speaks, gone while there is nothing to say.
const makeNotice = (element) => {
  const said = element("p", "said llmops-panel-notice");
  said.setAttribute("role", "status");
  const say = (text) => {
    if (said.textContent !== text) said.textContent = text; // what was said already is not spoken again
    said.hidden = !text;
  };
  return { said, say };
};

// Names for the questions of one view that no other view of the panel has.
const makeNames = () => {
  const me = Math.random().toString(36).slice(2);
  let count = 0;
  return () => `${me}-${++count}`;
};

// Tells that the panel waits for the kernel, and after a while that it may be busy or gone.
const makeBusy = (root, say) => {
  let late;
  const stop = () => clearTimeout(late);
  return {
    wait: () => {
      root.setAttribute("aria-busy", "true");
      stop();
      late = setTimeout(() => say(BUSY), LATE);
    },
    rest: () => {
      stop();
      root.removeAttribute("aria-busy");
    },
    stop,
  };
};

// Asks the kernel one thing at a time. Its answer has the question's name again, so that an older one, or that to
// another view, is not taken for it. `changed` is told when the panel begins to wait.
const makeTalk = (model, root, say, changed) => {
  const name = makeNames();
  const busy = makeBusy(root, say);
  let asked = "";
  return {
    waits: () => Boolean(asked),
    send: (content) => {
      asked = name();
      busy.wait();
      model.send({ ...content, ask: asked });
      changed();
    },
    // Takes the name that an answer has; whether nothing is waited for now.
    hears: (heard) => {
      if (asked && heard === asked) {
        asked = "";
        busy.rest();
      }
      return !asked;
    },
    stop: busy.stop,
  };
};

// Keys that the notebook knows stay in the panel, but for those with Ctrl and the like. `pressed` says whether it has
// made use of one.
const keepKeys = (root, pressed = () => false) => {
  root.addEventListener("keydown", (event) => {
    const ours = !event.isComposing && pressed(event);
    if (ours) event.preventDefault();
    if (ours || !(event.ctrlKey || event.metaKey || event.altKey)) event.stopPropagation();
  });
};

// Calls functions when values of the model change; returns what ends that.
const listen = (model, handlers) => {
  const all = Object.entries(handlers).flatMap(([name, some]) => [some].flat().map((one) => [`change:${name}`, one]));
  for (const [name, one] of all) model.on(name, one);
  return () => {
    for (const [name, one] of all) model.off(name, one);
  };
};

// Draws at the width in pixels that a part has, now and when it changes, so that texts keep their size.
const fitted = (part, draw) => {
  const redraw = () => {
    const width = Math.floor(part.clientWidth);
    if (width > 0) draw(width);
  };
  const observer = new ResizeObserver(redraw);
  observer.observe(part);
  return { redraw, stop: () => observer.disconnect() };
};

// Round numbers between two others, about `count` of them.
const ticks = (low, high, count) => {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough * (1 - 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step + 0); // no -0
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
};

// Empties a picture and gives it a size.
const sized = (svg, width, height) => {
  svg.replaceChildren();
  svg.setAttribute("width", width);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
};

// Axes with a grid for the values of a range. `across` are the marks of the lower one: place, text and anchor.
const axesOf = ({ width, height, edge, range, y, across }) => {
  const made = drawn("g", { class: "llmops-panel-axes" });
  const bottom = height - edge.bottom;
  for (const [at, text, anchor = "middle"] of across) {
    made.append(
      drawn("line", { x1: at, x2: at, y1: bottom, y2: bottom + 4 }),
      drawn("text", { x: at, y: bottom + 17, "text-anchor": anchor }, text),
    );
  }
  const upward = ticks(...range, 4);
  for (const value of upward.found) {
    const at = y(value);
    made.append(
      drawn("line", { class: "llmops-panel-grid", x1: edge.left, x2: width - edge.right, y1: at, y2: at }),
      drawn("text", { x: edge.left - 6, y: at + 4, "text-anchor": "end" }, value.toFixed(upward.digits)),
    );
  }
  made.append(
    drawn("line", { x1: edge.left, x2: width - edge.right, y1: bottom, y2: bottom }),
    drawn("line", { x1: edge.left, x2: edge.left, y1: edge.top, y2: bottom }),
  );
  return made;
};

// Points as a picture's path takes them.
const path = (points) => points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");
