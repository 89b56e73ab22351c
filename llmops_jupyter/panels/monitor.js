// The panel of rules: where they stand, a timeline of one, and what can be done about an alarm.
// Data is only ever set as text, never as markup.

// Milliseconds until a late answer is spoken of, and between two words that somebody sees the panel.
const LATE = 4000;
const SEEN = 120000;
const BUSY = "The kernel has not answered yet. If it was restarted, run the cell again.";
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200;
const EDGE = { top: 12, right: 14, bottom: 34, left: 52 };
const MARKS = { ok: "✓", warning: "!", alert: "✗", "no data": "?" };
const ORDER = ["alert", "warning", "no data", "ok"];

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = `llmops-rules-${className}`;
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

const stateOf = (state) => state.replace(" ", "-");

// Round numbers between two others, about `count` of them.
const ticks = (low, high, count) => {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough * (1 - 1e-9));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step + 0); // no -0
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
};

// Moments of an axis: few enough to be read; the day stands where the axis is longer than one.
const moments = (first, last, count) => {
  const format =
    last - first > 86400000
      ? { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hour12: false }
      : { hour: "2-digit", minute: "2-digit", second: last - first < 120000 ? "2-digit" : undefined, hour12: false };
  const step = (last - first) / Math.max(1, count - 1);
  const places = first === last ? [first] : Array.from({ length: count }, (_, i) => first + i * step);
  const texts = places.map((at) => [at, new Date(at).toLocaleString("en", format)]);
  return texts.filter(([, text], i) => !i || text !== texts[i - 1][1]);
};

const axes = (width, [first, last], [low, high], x, y) => {
  const made = drawn("g", { class: "llmops-panel-axes" });
  const bottom = HEIGHT - EDGE.bottom;
  const count = Math.max(2, Math.min(6, Math.floor(width / 130)));
  moments(first, last, count).forEach(([at, text], i, all) => {
    const anchor = all.length > 1 && i === all.length - 1 ? "end" : i === 0 ? "start" : "middle";
    made.append(
      drawn("line", { x1: x(at), x2: x(at), y1: bottom, y2: bottom + 4 }),
      drawn("text", { x: x(at), y: bottom + 17, "text-anchor": anchor }, text),
    );
  });
  const upward = ticks(low, high, 4);
  for (const value of upward.found) {
    const at = y(value);
    made.append(
      drawn("line", { class: "llmops-panel-grid", x1: EDGE.left, x2: width - EDGE.right, y1: at, y2: at }),
      drawn("text", { x: EDGE.left - 6, y: at + 4, "text-anchor": "end" }, value.toFixed(upward.digits)),
    );
  }
  made.append(
    drawn("line", { x1: EDGE.left, x2: width - EDGE.right, y1: bottom, y2: bottom }),
    drawn("line", { x1: EDGE.left, x2: EDGE.left, y1: EDGE.top, y2: bottom }),
  );
  return made;
};

const path = (points) => points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(" ");

// The looks at a rule, at a width in pixels, so that texts keep their size.
const draw = (svg, timeline, width) => {
  svg.replaceChildren();
  svg.setAttribute("width", width);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const { points = [], limits = {}, scale = 1 } = timeline;
  if (!points.length) return;
  const scaled = points.map(([at, ...rest]) => [at, ...rest.slice(0, 3).map((v) => (v === null ? null : v * scale)), rest[3]]);
  const valued = scaled.filter(([, value]) => value !== null);
  const all = [...valued.flatMap(([, ...three]) => three.slice(0, 3).filter((v) => v !== null))];
  all.push(...Object.values(limits).map((limit) => limit * scale));
  const [least, most] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
  const room = (most - least || Math.abs(most) || 1) * 0.12;
  const range = [least >= 0 ? Math.max(0, least - room) : least - room, most + room];
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const inside = width - EDGE.left - EDGE.right;
  const x = (at) => EDGE.left + (first === last ? 0.5 : (at - first) / (last - first)) * inside;
  const y = (v) => EDGE.top + ((range[1] - v) / (range[1] - range[0])) * (HEIGHT - EDGE.top - EDGE.bottom);
  svg.append(axes(width, [first, last], range, x, y));
  const band = valued.filter(([, , low, high]) => low !== null && high !== null);
  if (band.length > 1) {
    const edge = [...band.map(([at, , , high]) => [x(at), y(high)]), ...band.reverse().map(([at, , low]) => [x(at), y(low)])];
    svg.append(drawn("polygon", { class: "llmops-rules-band", points: path(edge) }));
  }
  for (const [state, limit] of Object.entries(limits)) {
    const at = y(limit * scale);
    svg.append(
      drawn("line", { class: `llmops-rules-limit llmops-rules-${state}`, x1: EDGE.left, x2: width - EDGE.right, y1: at, y2: at }),
    );
  }
  svg.append(drawn("polyline", { class: "llmops-rules-value", points: path(valued.map(([at, value]) => [x(at), y(value)])) }));
  for (const [at, value, , , state] of scaled) {
    if (state === "ok" && valued.length > 1) continue;
    const height = value === null ? HEIGHT - EDGE.bottom - 5 : y(value);
    svg.append(drawn("circle", { class: `llmops-rules-mark llmops-rules-${stateOf(state)}`, cx: x(at), cy: height, r: 4 }));
  }
};

const row = (rule, chosen, choose) => {
  const made = element("tr", `row llmops-rules-${stateOf(rule.state)}`);
  const title = button(rule.name, () => choose(rule.name));
  title.className = "llmops-rules-name";
  title.setAttribute("aria-pressed", String(rule.name === chosen));
  const name = element("th");
  name.scope = "row";
  name.append(title);
  const state = element("td", "state");
  state.append(element("span", "badge", `${MARKS[rule.state]} ${rule.state}`));
  if (rule.silenced) state.append(element("span", "quiet", "silenced"));
  if (rule.acknowledged) state.append(element("span", "quiet", "known"));
  if (rule.error) state.append(element("span", "quiet", "last look failed"));
  made.append(name, state, element("td", "", rule.value), element("td", "", rule.since), element("td", "", rule.looked));
  return made;
};

const trace = (one) => {
  const made = element("li", "trace");
  const head = element("p", "trace-head");
  const facts = [one.id.slice(0, 8), one.at, one.prompt, one.status, one.took].filter(Boolean);
  head.append(...facts.map((fact) => element("span", "", fact)));
  const text = element("pre", "", one.error || one.text || "(no text)");
  text.dir = "auto";
  made.append(head, text, element("p", "hint", `%trace show ${one.id.slice(0, 8)}`));
  return made;
};

function render({ model, el }) {
  const root = element("div");
  root.className = "llmops-panel llmops-rules";
  const me = Math.random().toString(36).slice(2);
  let count = 0;
  let asked = "";
  let late;

  const send = (action, rule = model.get("shown").rule) => {
    asked = `${me}-${++count}`;
    root.setAttribute("aria-busy", "true");
    late = setTimeout(() => say(BUSY), LATE);
    model.send({ action, rule, ask: asked });
    enable();
  };
  const head = element("div", "head");
  const title = element("h4", "title");
  const look = button("Look now", () => send("look"));
  head.append(title, look);
  const watch = element("p", "watch");
  const said = element("p", "said llmops-panel-notice");
  said.setAttribute("role", "status");
  const table = element("table", "table");
  const body = element("tbody");
  const names = element("tr");
  for (const text of ["rule", "state", "value", "since", "looked at"]) {
    const cell = element("th", "", text);
    cell.scope = "col";
    names.append(cell);
  }
  const top = element("thead");
  top.append(names);
  table.append(top, body);
  const detail = element("section", "detail");
  const heading = element("h4", "heading");
  const words = element("p", "words");
  const promise = element("p", "promise");
  const remarks = element("p", "remarks");
  const actions = element("div", "actions");
  const silence = button("Silence 1 h", () => send(current()?.silenced ? "speak" : "silence"));
  const known = button("Acknowledge", () => send("acknowledge"));
  const show = button("Show traces", () => send("traces"));
  actions.append(silence, known, show);
  const plot = element("div", "plot");
  const svg = drawn("svg", { role: "img", height: HEIGHT });
  plot.append(svg);
  const traces = element("ol", "traces");
  detail.append(heading, words, plot, promise, remarks, actions, traces);
  root.append(head, watch, said, table, detail);
  el.append(root);

  const current = () => model.get("rules").find((rule) => rule.name === model.get("shown").rule);
  const say = (text) => {
    said.textContent = text;
    said.hidden = !text;
  };
  const enable = () => {
    const rule = current();
    const waits = Boolean(asked);
    const bad = rule && ["warning", "alert"].includes(rule.state);
    look.disabled = waits || model.get("shown").looking || !rule;
    silence.disabled = waits || !rule;
    known.disabled = waits || !bad || rule.acknowledged;
    show.disabled = waits || !rule;
  };
  const redraw = () => {
    const width = Math.floor(plot.clientWidth);
    if (width > 0) draw(svg, model.get("timeline"), width);
  };
  let before = "";
  const list = () => {
    const { rule: chosen } = model.get("shown");
    const rules = [...model.get("rules")].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
    // What somebody is about to press stays where it is while nothing changes.
    const now = JSON.stringify([rules, chosen]);
    if (now === before) return;
    before = now;
    const focused = document.activeElement;
    const held = body.contains(focused) ? focused.textContent : null;
    body.replaceChildren(...rules.map((rule) => row(rule, chosen, (name) => send("choose", name))));
    if (held !== null) [...body.querySelectorAll("button")].find((b) => b.textContent === held)?.focus();
  };
  const update = () => {
    const shown = model.get("shown");
    if (asked && shown.heard === asked) {
      asked = "";
      clearTimeout(late);
      root.removeAttribute("aria-busy");
    }
    if (!asked) say(shown.said);
    title.textContent = shown.title;
    watch.textContent = shown.watch;
    look.textContent = shown.looking ? "Looking …" : "Look now";
    const rule = current();
    table.hidden = !model.get("rules").length;
    detail.hidden = !rule;
    if (rule) {
      heading.textContent = rule.name;
      words.textContent = rule.watches;
      promise.textContent = `False alarms: ${rule.promise}`;
      remarks.textContent = [rule.note, rule.remarks].filter(Boolean).join(" · ");
      remarks.hidden = !remarks.textContent;
      silence.textContent = rule.silenced ? "End the silence" : "Silence 1 h";
      svg.setAttribute("aria-label", `${rule.name} over its looks: ${rule.state}, ${rule.value}`);
    } else {
      watch.textContent = "Add rules: %monitor alerts add FILE";
    }
    list();
    enable();
  };
  const open = () => {
    const { rule, rows = [] } = model.get("traces");
    traces.replaceChildren(...(rule === model.get("shown").rule ? rows.map(trace) : []));
  };

  // Arrows go from rule to rule; keys that the notebook knows stay in the panel.
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    const all = [...body.querySelectorAll("button")];
    const at = all.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    all[(at + step + all.length) % all.length].focus();
  });

  let inSight = false;
  let visible = false;
  const tellSeen = (again) => {
    const now = inSight && document.visibilityState === "visible";
    if (now === visible && !(again && now)) return;
    visible = now;
    model.send({ action: "seen", on: now });
  };
  const sight = new IntersectionObserver((entries) => {
    inSight = entries[entries.length - 1].isIntersecting;
    tellSeen(false);
  });
  sight.observe(root);
  const turned = () => tellSeen(false);
  document.addEventListener("visibilitychange", turned);
  const still = setInterval(() => tellSeen(true), SEEN);

  const handlers = { "change:rules": [update], "change:shown": [update], "change:timeline": [redraw], "change:traces": [open] };
  for (const [name, all] of Object.entries(handlers)) for (const one of all) model.on(name, one);
  const observer = new ResizeObserver(redraw);
  observer.observe(plot);
  update();
  redraw();
  open();
  return () => {
    clearTimeout(late);
    clearInterval(still);
    document.removeEventListener("visibilitychange", turned);
    sight.disconnect();
    observer.disconnect();
    if (visible) model.send({ action: "seen", on: false });
    for (const [name, all] of Object.entries(handlers)) for (const one of all) model.off(name, one);
  };
}

export default { render };
