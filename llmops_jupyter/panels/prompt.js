// The playground: variants of a prompt side by side, tried with the values that all of them share.
// Data is only ever set as text, never as markup.

// Milliseconds after the last key until what was typed is told.
const PAUSE = 400;
const MOST = 4;

// The values of the variables, each typed or that of a variable of the notebook.
const makeValues = (edited) => {
  const root = labelled(element("section", "values"), "Values of the variables");
  const fields = new Map();
  const make = ({ name, text, variable }, held) => {
    const made = element("div", "value");
    const label = element("span", "name", name);
    const from = labelled(choiceOf(held, variable, "typed:"), `Where ${name} comes from`);
    const typed = labelled(boxOf(text, 1), `Value of ${name}`);
    const preview = element("p", "preview");
    const swap = () => {
      typed.hidden = Boolean(from.value);
      preview.hidden = !preview.textContent;
    };
    from.onchange = () => {
      preview.textContent = "";
      swap();
      edited();
      if (!from.value) typed.focus();
    };
    typed.oninput = edited;
    made.append(label, from, typed, preview);
    const told = ({ preview: seen, missing }) => {
      preview.textContent = missing || seen;
      swap();
    };
    const hold = (now) => {
      const kept = from.value;
      from.replaceChildren(...choiceOf(now, kept, "typed:").children);
      from.value = kept;
    };
    return { made, told, hold, value: () => ({ text: typed.value, variable: from.value }) };
  };
  const show = (variables, held) => {
    const names = variables.map(({ name }) => name);
    for (const [name, { made }] of fields) {
      if (names.includes(name)) continue;
      made.remove();
      fields.delete(name);
    }
    for (const variable of variables) {
      if (!fields.has(variable.name)) {
        const one = make(variable, held);
        fields.set(variable.name, one);
        root.append(one.made);
      }
      fields.get(variable.name).told(variable);
    }
    root.hidden = !variables.length;
  };
  const hold = (held) => {
    for (const one of fields.values()) one.hold(held);
  };
  return { root, show, hold, form: () => Object.fromEntries([...fields].map(([name, one]) => [name, one.value()])) };
};

// Texts to copy: a cell, and one with the values that it takes.
const makeCells = (say) => {
  const root = labelled(element("section", "cells"), "Text to copy");
  const copy = async (box) => {
    box.select();
    try {
      await navigator.clipboard.writeText(box.value);
      say("Copied.");
    } catch {
      say("Press Ctrl+C to copy what is selected.");
    }
  };
  const part = (title, text) => {
    const made = element("div", "cell");
    const box = labelled(boxOf(text, Math.min(12, text.split("\n").length + 1)), title);
    box.readOnly = true;
    const act = button("Copy", () => copy(box));
    const head = element("div", "cell-head");
    head.append(element("p", "", title), act);
    made.append(head, box);
    return made;
  };
  const show = ({ title, text, values }) => {
    root.hidden = !text;
    if (!text) return;
    root.replaceChildren(part(title, text), ...(values ? [part("Its values, for a cell before it", values)] : []));
  };
  return { root, show };
};

const rowOf = (cells, name, scope) => {
  const made = element("tr");
  made.append(
    ...cells.map((text, i) => {
      const cell = element(i === 0 || scope === "col" ? "th" : name, "", text);
      if (i === 0 || scope === "col") cell.scope = scope === "col" ? "col" : "row";
      cell.dir = "auto";
      return cell;
    }),
  );
  return made;
};

// All variants on the first rows of a data set, and the line that compares them on all rows.
const makeSample = (choices, held, send) => {
  const root = element("details", "sample");
  const names = element("datalist");
  names.id = `llmops-try-${Math.random().toString(36).slice(2)}`;
  const data = lineOf("", "data set or variable");
  data.setAttribute("list", names.id);
  const count = element("input");
  count.type = "number";
  [count.min, count.max, count.value] = [1, 50, 5];
  const metric = lineOf("", "exact");
  const run = button("Run on these rows", () => send("sample", { data: data.value.trim(), rows: Number(count.value) }));
  const compare = button("%evaluate compare …", () => send("compare", { data: data.value, metric: metric.value }));
  const fields = element("div", "fields");
  fields.append(field("data", data), field("first rows", count), run, field("scored by", metric), compare);
  const state = element("p", "state");
  state.setAttribute("role", "status");
  const around = labelled(element("div", "table"), "Answers to the rows");
  around.tabIndex = 0;
  around.setAttribute("role", "region");
  root.append(element("summary", "", "Rows of a data set"), names, fields, state, around);
  const list = () => {
    names.replaceChildren(...[...choices().data, ...held()].map((name) => optionOf(name, "", "")));
  };
  const show = ({ keys = [], rows = [], status = "", progress = "", error = "" }) => {
    const said = [STATES[status], progress, error].filter(Boolean).join(" · ");
    if (state.textContent !== said) state.textContent = said;
    around.hidden = !rows.length;
    const table = element("table");
    const body = element("tbody");
    const top = element("thead");
    top.append(rowOf(["row", ...keys], "th", "col"));
    body.append(...rows.map((row) => rowOf([[row.id, ...row.values].join("\n"), ...row.answers], "td", "row")));
    table.append(top, body);
    around.replaceChildren(table);
  };
  const enable = (waits, running) => {
    run.disabled = waits || running;
    compare.disabled = waits;
  };
  return { root, list, show, enable };
};

// What was tried before, with the traces of it.
const makeHistory = (send) => {
  const root = element("details", "history");
  const title = element("summary");
  const list = element("ol");
  root.append(title, list);
  const entry = (made) => {
    const one = element("li", "round");
    const head = element("p", "round-head", [`no. ${made.number}`, made.at, made.values].filter(Boolean).join(" · "));
    const again = button("Show", () => send("recall", { number: made.number }));
    head.append(labelled(again, `Show round ${made.number} again`));
    one.append(head);
    for (const trial of made.trials) {
      const facts = [trial.key, trial.ref, STATES[trial.status], trial.line, trial.trace && `%trace show ${trial.trace}`];
      const line = element("p", "trial", facts.filter(Boolean).join(" · "));
      line.dir = "auto";
      one.append(line);
    }
    return one;
  };
  const show = (rounds) => {
    root.hidden = !rounds.length;
    title.textContent = `History (${rounds.length})`;
    list.replaceChildren(...rounds.map(entry));
  };
  return { root, show };
};

function render({ model, el }) {
  const root = labelled(rootOf("llmops-try"), "Playground");
  root.setAttribute("role", "group");
  const { said, say } = makeNotice(element);
  const choices = () => model.get("choices");
  const shown = () => model.get("shown");
  const views = new Map();
  let timer;

  const enable = () => {
    const [waits, { running, stopping }] = [talk.waits(), shown()];
    runAll.disabled = waits || running;
    stop.disabled = !running || stopping;
    stop.textContent = stopping ? "Stopping …" : "Stop";
    add.disabled = waits || views.size >= MOST;
    for (const view of views.values()) view.enable(waits, views.size === 1);
    sample.enable(waits, running);
  };
  const talk = makeTalk(model, root, say, enable);
  const quiet = makeNames();
  const form = () => {
    clearTimeout(timer);
    return { columns: [...views.values()].map((view) => view.tell()), values: values.form() };
  };
  const send = (action, more = {}) => talk.send({ action, ...form(), ...more });
  const edited = () => {
    clearTimeout(timer);
    timer = setTimeout(() => model.send({ action: "edit", ask: quiet(), ...form() }), PAUSE);
  };

  const title = element("h4", "name");
  const runAll = button("Run all", () => send("run"), "run");
  runAll.setAttribute("aria-keyshortcuts", "Control+Enter");
  runAll.title = "Ctrl+Enter";
  const stop = button("Stop", () => talk.send({ action: "stop" }));
  const add = button("Add a variant", () => send("add"));
  const head = element("div", "head");
  head.append(title, runAll, stop, add);
  const values = makeValues(edited);
  const columns = element("div", "columns");
  const verdict = element("p", "verdict");
  verdict.setAttribute("role", "status");
  const cells = makeCells(say);
  const sample = makeSample(choices, () => model.get("held"), send);
  const past = makeHistory(send);
  root.append(head, said, values.root, columns, verdict, cells.root, sample.root, past.root);
  el.append(root);

  const answer = (key) => () => views.get(key)?.answer(model.get(`answer_${key.toLowerCase()}`));
  const lay = () => {
    const place = root.contains(document.activeElement) && document.activeElement.dataset.place;
    const before = new Map(views);
    views.clear();
    for (const column of model.get("columns")) {
      const old = before.get(column.key);
      const view = old?.agrees(column) ? old : makeColumn(column, { choices, shown, send, edited });
      views.set(column.key, view);
    }
    columns.replaceChildren(...[...views.values()].map((view) => view.root));
    for (const key of views.keys()) answer(key)();
    const added = [...views.values()].filter(({ key }) => !before.has(key));
    if (before.size && added.length) added[0].template.focus();
    else if (place) columns.querySelector(`[data-place="${place}"]`)?.focus();
  };
  let laid = 0;
  const update = () => {
    const { name, heard, said: told, verdict: words, revision } = shown();
    if (talk.hears(heard)) say(told);
    title.textContent = name || "Playground";
    if (verdict.textContent !== words) verdict.textContent = words;
    verdict.hidden = !words;
    if (revision !== laid) {
      laid = revision;
      lay();
    }
    for (const column of model.get("columns")) views.get(column.key)?.kept(column);
    values.show(model.get("variables"), model.get("held"));
    enable();
  };
  const chosen = () => {
    for (const view of views.values()) view.list();
    sample.list();
  };
  const held = () => {
    values.hold(model.get("held"));
    sample.list();
  };
  const handlers = {
    shown: update,
    choices: chosen,
    held,
    history: () => past.show(model.get("history")),
    sample: () => sample.show(model.get("sample")),
    made: () => cells.show(model.get("made")),
  };
  for (const key of ["A", "B", "C", "D"]) handlers[`answer_${key.toLowerCase()}`] = answer(key);
  const stopListening = listen(model, handlers);
  keepKeys(root, ({ key, ctrlKey, metaKey }) => {
    if (key !== "Enter" || !(ctrlKey || metaKey)) return false;
    if (!runAll.disabled) send("run");
    return true;
  });
  update();
  chosen();
  for (const name of ["history", "sample", "made"]) handlers[name]();
  return () => {
    clearTimeout(timer);
    talk.stop();
    stopListening();
  };
}

export default { render };
