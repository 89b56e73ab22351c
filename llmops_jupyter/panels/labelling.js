// The labelling widget: shows one task at a time, sends what the person decided and waits for the next.
// Data is only ever set as text, never as markup.

const { element, button } = makers("llmops-label");

const block = (title, text, className) => {
  const part = element("section", className ? `part llmops-label-${className}` : "part");
  part.setAttribute("aria-label", title);
  part.append(element("h4", "", title), element("pre", "", text));
  return part;
};

// How far it is. It stays while tasks come and go, and is spoken: who does not see the next one hears that it is there.
const makeHead = () => {
  const root = element("div", "head");
  const bar = element("progress");
  const told = element("span", "told");
  told.setAttribute("role", "status");
  const done = element("span");
  const number = element("span", "number");
  told.append(done, number);
  root.append(bar, told);
  const show = (task) => {
    bar.max = task.total;
    bar.value = task.done;
    done.textContent = `${task.done} of ${task.total} labelled`;
    bar.setAttribute("aria-label", done.textContent);
    number.textContent = task.over ? "" : `no. ${task.number}`;
  };
  return { root, show };
};

const body = (task) => {
  const made = element("div", "body");
  if (task.over) {
    made.append(element("p", "over", "Everything is labelled. Thank you."));
    return made;
  }
  if (task.input) made.append(block("asked", task.input));
  if (task.context) made.append(block("context", task.context, "context"));
  const answers = element("div", "answers");
  task.outputs.forEach((text, i) => {
    const title = task.outputs.length > 1 ? ["left", "right"][i] : "answer";
    answers.append(block(title, text, "answer"));
  });
  made.append(answers);
  if (task.expected) {
    const details = element("details");
    details.append(element("summary", "", "expected answer (e)"), element("pre", "", task.expected));
    made.append(details);
  }
  const note = element("input", "note");
  note.type = "text";
  note.placeholder = "note (n)";
  note.value = task.note || "";
  note.setAttribute("aria-label", "note");
  made.append(note);
  return made;
};

function render({ model, el }) {
  const root = labelled(rootOf("llmops-label"), "Labelling");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  const head = makeHead();
  const content = element("div");
  const { said, say } = makeNotice(element);
  root.append(head.root, content, said);
  el.append(root);
  const busy = makeBusy(root, say);
  let waiting = false;
  let shown = 0;

  // One decision at a time: while the kernel is busy, the one that was made waits there, and others are not
  // taken, since nobody has seen yet what they would be about.
  const send = (action, more = {}) => {
    if (waiting) return;
    waiting = true;
    for (const made of root.querySelectorAll("button")) made.setAttribute("aria-disabled", "true");
    say("");
    busy.wait();
    model.send({ action, number: model.get("task").number, ...more });
  };

  const noteOf = () => root.querySelector(".llmops-label-note")?.value ?? "";

  const label = (name) => send("label", { label: name, note: noteOf() });

  const buttons = (task) => {
    const made = element("div", "buttons");
    if (!task.over) {
      for (const { name, keys } of model.get("labels")) {
        const shown = keys.filter((key) => key !== name).join(", ");
        const choice = button(shown ? `${name} (${shown})` : name, () => label(name), "choice");
        choice.setAttribute("aria-keyshortcuts", keys.join(" "));
        choice.setAttribute("aria-pressed", String(task.given === name));
        made.append(choice);
      }
      made.append(button("skip (s)", () => send("skip")));
    }
    const undo = button("undo (u)", () => send("undo"));
    undo.disabled = !task.undo;
    made.append(undo);
    return made;
  };

  const draw = () => {
    const task = { ...model.get("task") };
    // The same task again, after something that was not taken: what was typed stays.
    const same = task.number === shown && !task.over;
    if (same && root.querySelector(".llmops-label-note")) task.note = noteOf();
    shown = task.number;
    const hadFocus = root.contains(document.activeElement);
    waiting = false;
    busy.rest();
    head.show(task);
    content.replaceChildren(body(task), buttons(task));
    say(task.said || "");
    if (hadFocus) root.focus({ preventScroll: true });
  };

  const actions = {
    s: () => send("skip"),
    u: () => model.get("task").undo && send("undo"),
    ArrowLeft: () => send("back"),
    ArrowRight: () => send("on"),
    n: () => root.querySelector(".llmops-label-note")?.focus(),
    e: () => {
      const details = root.querySelector("details");
      if (details) details.open = !details.open;
    },
  };

  keepKeys(root, (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return false;
    if (event.target instanceof HTMLInputElement) {
      const leaves = event.key === "Escape" || event.key === "Enter";
      if (leaves) root.focus();
      return leaves;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const chosen = model.get("labels").find(({ keys }) => keys.includes(key));
    const act = chosen && !model.get("task").over ? () => label(chosen.name) : actions[key];
    act?.();
    return Boolean(act);
  });

  const stopListening = listen(model, { task: draw });
  draw();
  return () => {
    busy.stop();
    stopListening();
  };
}

export default { render };
