// The panel of a fine-tuning run: its curve, how far it is, its samples, and what can be done with it.
// Data is only ever set as text, never as markup.

const HEIGHT = 220;
const EDGE = { top: 10, right: 12, bottom: 34, left: 46 };
const { element, button } = makers("llmops-tuning");

const line = (points, name, x, y) =>
  drawn("polyline", { class: `llmops-tuning-${name}`, points: path(points.map(([step, loss]) => [x(step), y(loss)])) });

const axes = (width, steps, range, x, y) => {
  const marks = ticks(0, steps, Math.max(2, Math.floor(width / 110))).found.filter(Number.isInteger);
  const across = marks.map((step) => [x(step), step.toLocaleString("en")]);
  const made = axesOf({ width, height: HEIGHT, edge: EDGE, range, y, across });
  made.append(drawn("text", { x: width - EDGE.right, y: HEIGHT - 3, "text-anchor": "end" }, "step"));
  return made;
};

// The curve at a width in pixels, so that texts keep their size.
const draw = (svg, curve, width) => {
  sized(svg, width, HEIGHT);
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

function render({ model, el }) {
  const root = rootOf("llmops-tuning");
  const { said, say } = makeNotice(element);
  const enable = () => {
    const { can_stop, can_resume } = model.get("shown");
    stop.disabled = talk.waits() || !can_stop;
    resume.disabled = talk.waits() || !can_resume;
    choice.disabled = talk.waits();
  };
  const talk = makeTalk(model, root, say, enable);
  const send = (action, run = model.get("shown").id) => talk.send({ action, run });
  const choice = labelled(element("select", "choice"), "Run");
  choice.onchange = () => send("choose", choice.value);
  const stop = button("Stop", () => send("stop"));
  const resume = button("Resume", () => send("resume"));
  const head = element("div", "head");
  head.append(choice, stop, resume);
  const facts = element("dl", "figures");
  const plot = element("div", "plot");
  const svg = drawn("svg", { role: "img", height: HEIGHT });
  plot.append(svg);
  const more = element("div", "facts");
  const samples = element("div", "samples");
  root.append(head, said, facts, plot, legend(), more, samples);
  el.append(root);

  const { redraw, stop: stopFitting } = fitted(plot, (width) => draw(svg, model.get("curve"), width));
  let before = "";
  const show = () => {
    const run = model.get("shown");
    if (talk.hears(run.heard)) say(run.said || run.message);
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
  const list = () => {
    const { id: chosen } = model.get("shown");
    const texts = model.get("runs").map(({ id, name, status }) => optionOf(id, `${name} · ${id} · ${status}`, chosen));
    choice.replaceChildren(...texts);
  };
  const chosen = () => {
    choice.value = model.get("shown").id;
  };

  keepKeys(root);
  const stopListening = listen(model, { shown: [show, chosen], curve: redraw, runs: list });
  list();
  show();
  redraw();
  return () => {
    talk.stop();
    stopFitting();
    stopListening();
  };
}

export default { render };
