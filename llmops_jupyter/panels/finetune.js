// The panel of a fine-tuning run: its curve, how far it is, its samples, and what can be done with it.
// Data is only ever set as text, never as markup.

// Milliseconds until a late answer is spoken of.
const LATE = 4000;
const BUSY = "The kernel has not answered yet. If it was restarted, run the cell again.";
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 220;
const EDGE = { top: 10, right: 12, bottom: 34, left: 46 };

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = `llmops-tuning-${className}`;
  if (text !== undefined) made.textContent = text;
  return made;
};

const drawn = (name, values, text) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

const button = (text, act) => {
  const made = element("button", "", text);
  made.type = "button";
  made.onclick = act;
  return made;
};

// Round numbers between two others, about `count` of them.
const ticks = (low, high, count) => {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step + 0); // no -0
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
};

const line = (points, name, x, y) =>
  drawn("polyline", {
    class: `llmops-tuning-${name}`,
    points: points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" "),
  });

const axes = (width, steps, [low, high], x, y) => {
  const made = drawn("g", { class: "llmops-panel-axes" });
  const bottom = HEIGHT - EDGE.bottom;
  const across = ticks(0, steps, Math.max(2, Math.floor(width / 110)));
  const upward = ticks(low, high, 4);
  for (const step of across.found.filter(Number.isInteger)) {
    made.append(
      drawn("line", { x1: x(step), x2: x(step), y1: bottom, y2: bottom + 4 }),
      drawn("text", { x: x(step), y: bottom + 17, "text-anchor": "middle" }, step.toLocaleString("en")),
    );
  }
  for (const loss of upward.found) {
    made.append(
      drawn("line", { class: "llmops-panel-grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(loss), y2: y(loss) }),
      drawn("text", { x: EDGE.left - 6, y: y(loss) + 4, "text-anchor": "end" }, loss.toFixed(upward.digits)),
    );
  }
  made.append(
    drawn("line", { x1: EDGE.left, x2: width - EDGE.right, y1: bottom, y2: bottom }),
    drawn("line", { x1: EDGE.left, x2: EDGE.left, y1: EDGE.top, y2: bottom }),
    drawn("text", { x: width - EDGE.right, y: HEIGHT - 3, "text-anchor": "end" }, "step"),
  );
  return made;
};

// The curve at a width in pixels, so that texts keep their size.
const draw = (svg, curve, width) => {
  svg.replaceChildren();
  svg.setAttribute("width", width);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const { losses, evals, best, steps } = curve;
  const all = [...losses.flatMap(([, loss, mean]) => [loss, mean]), ...evals.map(([, loss]) => loss)];
  if (!all.length) return;
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const room = (most - least || 1) * 0.05;
  const range = [Math.max(0, least - room), most + room];
  const x = (step) => EDGE.left + (step / Math.max(steps, 1)) * (width - EDGE.left - EDGE.right);
  const y = (loss) =>
    EDGE.top + ((range[1] - loss) / (range[1] - range[0])) * (HEIGHT - EDGE.top - EDGE.bottom);
  svg.append(
    axes(width, steps, range, x, y),
    line(losses, "each", x, y),
    line(losses.map(([step, , mean]) => [step, mean]), "mean", x, y),
    line(evals, "looks", x, y),
    ...evals.map(([step, loss]) => drawn("circle", { class: "llmops-tuning-look", cx: x(step), cy: y(loss), r: 3 })),
  );
  if (best) svg.append(drawn("circle", { class: "llmops-tuning-best", cx: x(best[0]), cy: y(best[1]), r: 7 }));
};

const legend = () => {
  const made = element("p", "legend");
  const names = { each: "loss of a step", mean: "running mean", looks: "eval rows", best: "best look" };
  for (const [name, text] of Object.entries(names)) made.append(element("span", `key llmops-tuning-key-${name}`, text));
  return made;
};

const number = (value) => (value === null ? "–" : value.toFixed(3));

const figures = (run) => {
  const told = {
    status: run.phase && run.status === "running" ? `${run.status}, ${run.phase}` : run.status,
    step: `${run.step.toLocaleString("en")} of ${run.steps.toLocaleString("en")}`,
    "loss, running mean": number(run.loss),
    "eval, base": number(run.base),
    "eval, best": run.best ? `${number(run.best[1])} at step ${run.best[0].toLocaleString("en")}` : "–",
    speed: run.speed ? `${run.speed.toLocaleString("en")} tokens/s` : "–",
    "time left": run.left || "–",
  };
  return Object.entries(told).map(([name, value]) => {
    const made = element("div", "figure");
    made.append(element("dt", "", name), element("dd", "", value));
    return made;
  });
};

const sample = (one) => {
  const made = element("section", "sample");
  for (const name of ["asked", "wanted", "before", "after"]) {
    const text = element("pre", name, one[name] || "–");
    text.dir = "auto";
    made.append(element("h4", "", name), text);
  }
  return made;
};

const option = ({ id, name, status }, chosen) => {
  const made = element("option", "", `${name} · ${id} · ${status}`);
  made.value = id;
  made.selected = id === chosen;
  return made;
};

function render({ model, el }) {
  const root = element("div");
  root.className = "llmops-panel llmops-tuning";
  const me = Math.random().toString(36).slice(2);
  let count = 0;
  let asked = "";
  let late;

  const send = (action, run = model.get("shown").id) => {
    asked = `${me}-${++count}`;
    root.setAttribute("aria-busy", "true");
    late = setTimeout(() => say(BUSY), LATE);
    model.send({ action, run, ask: asked });
    enable();
  };
  const choice = element("select", "choice");
  choice.setAttribute("aria-label", "Run");
  choice.onchange = () => send("choose", choice.value);
  const stop = button("Stop", () => send("stop"));
  const resume = button("Resume", () => send("resume"));
  const head = element("div", "head");
  head.append(choice, stop, resume);
  const said = element("p", "said llmops-panel-notice");
  said.setAttribute("role", "status");
  const facts = element("dl", "figures");
  const plot = element("div", "plot");
  const svg = drawn("svg", { role: "img", height: HEIGHT });
  plot.append(svg);
  const more = element("div", "facts");
  const samples = element("div", "samples");
  root.append(head, said, facts, plot, legend(), more, samples);
  el.append(root);

  const say = (text) => {
    said.textContent = text;
    said.hidden = !text;
  };
  const enable = () => {
    const { can_stop, can_resume } = model.get("shown");
    stop.disabled = Boolean(asked) || !can_stop;
    resume.disabled = Boolean(asked) || !can_resume;
    choice.disabled = Boolean(asked);
  };
  const redraw = () => {
    const width = Math.floor(plot.clientWidth);
    if (width > 0) draw(svg, model.get("curve"), width);
  };
  let before = "";
  const show = () => {
    const run = model.get("shown");
    if (asked && run.heard === asked) {
      asked = "";
      clearTimeout(late);
      root.removeAttribute("aria-busy");
    }
    if (!asked) say(run.said || run.message);
    enable();
    facts.replaceChildren(...figures(run));
    svg.setAttribute("aria-label", `Loss over steps of ${run.name}: step ${run.step} of ${run.steps}, ${run.status}`);
    // What somebody may be selecting stands still while only the curve grows.
    const now = JSON.stringify([run.facts, run.samples]);
    if (now === before) return;
    before = now;
    more.replaceChildren(...run.facts.map((fact) => element("p", "", fact)));
    samples.replaceChildren(...run.samples.map(sample));
  };
  const list = () => choice.replaceChildren(...model.get("runs").map((run) => option(run, model.get("shown").id)));
  const chosen = () => {
    choice.value = model.get("shown").id;
  };

  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  const handlers = { "change:shown": [show, chosen], "change:curve": [redraw], "change:runs": [list] };
  for (const [name, all] of Object.entries(handlers)) for (const one of all) model.on(name, one);
  const observer = new ResizeObserver(redraw);
  observer.observe(plot);
  list();
  show();
  redraw();
  return () => {
    clearTimeout(late);
    observer.disconnect();
    for (const [name, all] of Object.entries(handlers)) for (const one of all) model.off(name, one);
  };
}

export default { render };
