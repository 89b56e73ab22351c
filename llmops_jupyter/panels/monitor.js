// The panel of rules: where they stand, a timeline of one, and what can be done about an alarm.
// Data is only ever set as text, never as markup.

// Milliseconds between two words that somebody sees the panel.
const SEEN = 120000;
const HEIGHT = 200;
const EDGE = { top: 12, right: 14, bottom: 34, left: 52 };
const MARKS = { ok: "✓", warning: "!", alert: "✗", "no data": "?" };
const ORDER = ["alert", "warning", "no data", "ok"];

const { element, button } = makers("llmops-rules");

const stateOf = (state) => state.replace(" ", "-");

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

const axes = (width, [first, last], range, x, y) => {
  const count = Math.max(2, Math.min(6, Math.floor(width / 130)));
  const anchor = (i, all) => (all.length > 1 && i === all.length - 1 ? "end" : i === 0 ? "start" : "middle");
  const across = moments(first, last, count).map(([at, text], i, all) => [x(at), text, anchor(i, all)]);
  return axesOf({ width, height: HEIGHT, edge: EDGE, range, y, across });
};

// The looks at a rule, at a width in pixels, so that texts keep their size.
const draw = (svg, timeline, width) => {
  sized(svg, width, HEIGHT);
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
  const title = button(rule.name, () => choose(rule.name), "name");
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
  const root = rootOf("llmops-rules");
  const { said, say } = makeNotice(element);
  const enable = () => {
    const rule = current();
    const waits = talk.waits();
    const bad = rule && ["warning", "alert"].includes(rule.state);
    look.disabled = waits || model.get("shown").looking || !rule;
    silence.disabled = waits || !rule;
    known.disabled = waits || !bad || rule.acknowledged;
    show.disabled = waits || !rule;
  };
  const talk = makeTalk(model, root, say, enable);
  const send = (action, rule = model.get("shown").rule) => talk.send({ action, rule });
  const head = element("div", "head");
  const title = element("h4", "title");
  const look = button("Look now", () => send("look"));
  head.append(title, look);
  const watch = element("p", "watch");
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
  const { redraw, stop: stopFitting } = fitted(plot, (width) => draw(svg, model.get("timeline"), width));
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
    if (talk.hears(shown.heard)) say(shown.said);
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

  // Arrows go from rule to rule.
  keepKeys(root, ({ key, ctrlKey, metaKey, altKey }) => {
    const all = [...body.querySelectorAll("button")];
    const at = all.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (at < 0 || !step || ctrlKey || metaKey || altKey) return false;
    all[(at + step + all.length) % all.length].focus();
    return true;
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

  const stopListening = listen(model, { rules: update, shown: update, timeline: redraw, traces: open });
  update();
  redraw();
  open();
  return () => {
    talk.stop();
    clearInterval(still);
    document.removeEventListener("visibilitychange", turned);
    sight.disconnect();
    stopFitting();
    if (visible) model.send({ action: "seen", on: false });
    stopListening();
  };
}

export default { render };
