// A variant of the playground: its text and settings, its answer while it is written, and what becomes of it.
// Data is only ever set as text, never as markup.

const { element, button } = makers("llmops-try");

const LABELS = {
  model: "model",
  temperature: "temperature",
  max_tokens: "max tokens",
  seed: "seed",
  top_p: "top-p",
  top_k: "top-k",
  min_p: "min-p",
  repeat_penalty: "repeat penalty",
  frequency_penalty: "frequency penalty",
  presence_penalty: "presence penalty",
  stop: "stop, a text a line",
  exact: "exact",
  adapters: "adapters, NAME:SCALE",
  rag: "index",
  guard: "guard",
};
const CHOSEN = ["model", "rag", "guard", "exact"];
const STATES = { waiting: "waits", running: "answers …", done: "done", stopped: "stopped", failed: "failed" };

// A labelled control.
const field = (label, control) => {
  const made = element("label", "field");
  made.append(element("span", "label", label), control);
  return made;
};

// A choice that has its value even if that is not among what there is.
const choiceOf = (values, value, empty) => {
  const made = element("select");
  const all = value && !values.includes(value) ? [...values, value] : values;
  made.append(optionOf("", empty, value), ...all.map((one) => optionOf(one, one, value)));
  return made;
};

const lineOf = (value, placeholder) => {
  const made = element("input");
  made.type = "text";
  made.value = value;
  made.placeholder = placeholder || "";
  made.autocomplete = "off";
  made.spellcheck = false;
  return made;
};

const boxOf = (value, rows, className) => {
  const made = element("textarea", className);
  made.value = value;
  made.rows = rows;
  made.spellcheck = false;
  made.dir = "auto";
  return made;
};

// Sets a text so that what stays of it keeps the reader's selection.
const grow = (part, text) => {
  const node = part.firstChild;
  const before = node ? node.data : "";
  if (node && text.startsWith(before)) node.appendData(text.slice(before.length));
  else part.textContent = text;
};

const controlOf = (name, value, choices) => {
  if (name === "exact") return choiceOf(["yes", "no"], value, "as set");
  const usual = choices.usual[name];
  if (CHOSEN.includes(name)) return choiceOf(choices[name] || [], value, usual ? `${usual}, as set` : name === "model" ? "the usual one" : "none named");
  return name === "stop" ? boxOf(value, 1) : lineOf(value, usual);
};

// The settings, in what opens below a line that names those that are given.
const makeSettings = (given, choices, edited) => {
  const root = element("details", "settings");
  const line = element("summary");
  const parts = element("div", "fields");
  const controls = {};
  for (const name of choices.settings) {
    controls[name] = controlOf(name, given[name] || "", choices);
    parts.append(field(LABELS[name] || name, controls[name]));
  }
  const values = () =>
    Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]).filter(([, v]) => v));
  const tell = () => {
    const said = Object.entries(values()).map(([name, value]) => `${(LABELS[name] || name).split(",")[0]} ${value.replace(/\n/g, " | ")}`);
    line.textContent = said.length ? said.join(" · ") : "settings: the usual ones";
  };
  parts.oninput = () => {
    tell();
    edited();
  };
  root.append(line, parts);
  tell();
  return { root, values };
};

// The answer, which is spoken of in a line that changes with its state only.
const makeAnswer = () => {
  const root = element("section", "answer");
  const state = element("p", "state");
  state.setAttribute("role", "status");
  const thought = element("details", "thought");
  const thinking = element("pre");
  thinking.dir = "auto";
  thought.append(element("summary", "", "reasoning"), thinking);
  const text = element("pre", "text");
  text.dir = "auto";
  const error = element("p", "error llmops-panel-notice");
  const line = element("p", "line");
  const notes = element("ul", "notes");
  root.append(state, thought, text, error, line, notes);
  // An answer of another text or of other settings than those that stand there now says so.
  const show = (answer, stamp) => {
    const there = Boolean(answer.key);
    root.hidden = !there;
    if (!there) return;
    const old = answer.stamp === stamp ? "" : ", of an earlier text or setting";
    const said = `${answer.key}: ${STATES[answer.status] || answer.status}${old}`;
    if (state.textContent !== said) state.textContent = said;
    state.dataset.status = answer.status;
    thought.hidden = !answer.reasoning;
    grow(thinking, answer.reasoning);
    grow(text, answer.text);
    text.hidden = !answer.text;
    error.textContent = answer.error;
    error.hidden = !answer.error;
    line.textContent = answer.line || (answer.trace ? `trace ${answer.trace}` : "");
    line.hidden = !line.textContent;
    notes.replaceChildren(...[...answer.notes, ...answer.sources].map((note) => element("li", "", note)));
    notes.hidden = !notes.children.length;
  };
  return { root, show };
};

// A small form that opens below the buttons; Enter does what it is for, and Escape closes it.
const openForm = (slot, title, parts, name, act, back) => {
  const form = element("form", "form");
  const close = () => {
    slot.replaceChildren();
    back.focus();
  };
  const go = button(name);
  go.type = "submit";
  const buttons = element("div", "buttons");
  buttons.append(go, button("Cancel", close));
  form.append(element("p", "form-title", title), ...parts, buttons);
  form.onsubmit = (event) => {
    event.preventDefault();
    act();
    close();
  };
  form.onkeydown = (event) => {
    if (event.key === "Escape") close();
  };
  slot.replaceChildren(form);
  form.querySelector("input")?.focus();
  return { form, go };
};

const saveForm = (slot, key, name, send, back) => {
  const note = lineOf("", "what is new");
  const named = lineOf("", "support-reply");
  const parts = name ? [field("note", note)] : [field("name", named), field("note", note)];
  const title = name ? `Keep variant ${key} as a version of ${name}` : `Keep variant ${key} as a prompt`;
  openForm(slot, title, parts, "Save", () => send("save", { key, note: note.value, name: named.value }), back);
};

// An alias moves once somebody has pressed a button that says from where to where.
const aliasForm = (slot, column, name, aliases, send, back) => {
  const alias = lineOf("production");
  const note = lineOf("", "why");
  const told = element("p", "told");
  const seen = () => aliases[alias.value.trim()] ?? 0;
  const act = () =>
    send("alias", { key: column.key, alias: alias.value, note: note.value, seen: seen(), confirmed: true });
  const parts = [field("alias", alias), field("note", note), told];
  const { go } = openForm(slot, `Point an alias of ${name} at version ${column.version}`, parts, "Set", act, back);
  const tell = () => {
    const [wanted, now] = [alias.value.trim(), seen()];
    told.textContent = now
      ? `${name}@${wanted} is version ${now} now.`
      : `${name} has no alias ${wanted || "without a name"} yet.`;
    go.textContent = now ? `Move it to version ${column.version}` : "Set it";
    go.disabled = !wanted || now === column.version;
  };
  alias.oninput = tell;
  tell();
};

// A column of the playground. `send` asks the kernel, `edited` is called when something was typed.
const makeColumn = (given, { choices, shown, send, edited }) => {
  const { key } = given;
  let column = given;
  const root = labelled(element("section", "column"), `Variant ${key}`);
  const title = element("h4", "title", key);
  const ref = element("bdi", "ref");
  const run = button("Run", () => send("run", { key }));
  const remove = labelled(button("×", () => send("remove", { key })), `Remove variant ${key}`);
  labelled(run, `Run variant ${key}`).dataset.place = `${key}-run`;
  const head = element("div", "column-head");
  head.append(title, ref, run, remove);
  const load = labelled(element("select", "load"), `Load a version into variant ${key}`);
  load.onchange = () => send("load", { key, reference: load.value });
  const template = labelled(boxOf(given.template, 6, "template"), `Template of variant ${key}`);
  template.placeholder = "user: Where is {{ order }}?";
  template.dataset.place = `${key}-template`;
  template.oninput = () => edited();
  const extras = element("p", "extras");
  const settings = makeSettings(given.settings, choices(), edited);
  const answer = makeAnswer();
  const slot = element("div", "slot");
  const save = button("Save …", () => saveForm(slot, key, shown().name, send, save));
  const alias = button("Alias …", () => aliasForm(slot, column, shown().name, choices().aliases, send, alias));
  const cell = button("As a cell", () => send("cell", { key }));
  const buttons = element("div", "buttons");
  buttons.append(save, alias, cell);
  root.append(head, load, template, extras, settings.root, answer.root, buttons, slot);

  const form = () => ({ key, template: template.value, settings: settings.values() });
  let sent = "";
  const kept = (now) => {
    column = now;
    ref.textContent = [now.ref || "no version", ...now.aliases].join(" · ");
    extras.textContent = now.extras.length ? `with ${now.extras.join(", ")} of ${now.source}` : "";
    extras.hidden = !now.extras.length;
  };
  const list = () => {
    const refs = choices().versions.map((v) => optionOf(v.ref, [v.ref, ...v.aliases].join(" · "), ""));
    load.replaceChildren(optionOf("", "load a version …", ""), ...refs);
    load.hidden = !refs.length;
  };
  const enable = (waits, alone) => {
    run.disabled = waits || shown().running;
    remove.disabled = waits || alone;
    for (const part of [load, save, cell]) part.disabled = waits;
    alias.disabled = waits || !column.version || !shown().name;
  };
  kept(given);
  list();
  let last = {};
  const told = (now) => {
    last = now;
    answer.show(last, column.stamp);
  };
  told({});
  return {
    key,
    root,
    template,
    kept: (now) => {
      kept(now);
      answer.show(last, column.stamp);
    },
    list,
    enable,
    answer: told,
    // What the form holds, noted as told.
    tell: () => {
      const now = form();
      sent = JSON.stringify([now.template, now.settings]);
      return now;
    },
    // Whether the kernel has what this view has told it.
    agrees: (other) => sent === JSON.stringify([other.template, other.settings]),
  };
};
