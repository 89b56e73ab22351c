// The labelling widget: shows one task at a time, sends what the person decided and waits for the next.
// Data is only ever set as text, never as markup.

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const button = (text, act, className) => {
  const made = element("button", className, text);
  made.type = "button";
  made.onclick = act;
  return made;
};

const block = (title, text, className) => {
  const part = element("section", `llmops-label-part ${className || ""}`);
  part.setAttribute("aria-label", title);
  part.append(element("h4", "", title), element("pre", "", text));
  return part;
};

const head = (task) => {
  const made = element("div", "llmops-label-head");
  const bar = element("progress");
  bar.max = task.total;
  bar.value = task.done;
  const said = `${task.done} of ${task.total} labelled`;
  bar.setAttribute("aria-label", said);
  made.append(bar, element("span", "", said));
  if (!task.over) made.append(element("span", "llmops-label-number", `no. ${task.number}`));
  return made;
};

const body = (task) => {
  const made = element("div", "llmops-label-body");
  if (task.over) {
    made.append(element("p", "llmops-label-over", "Everything is labelled. Thank you."));
    return made;
  }
  if (task.input) made.append(block("asked", task.input));
  if (task.context) made.append(block("context", task.context, "llmops-label-context"));
  const answers = element("div", "llmops-label-answers");
  task.outputs.forEach((text, i) => {
    const title = task.outputs.length > 1 ? ["left", "right"][i] : "answer";
    answers.append(block(title, text, "llmops-label-answer"));
  });
  made.append(answers);
  if (task.expected) {
    const details = element("details");
    details.append(element("summary", "", "expected answer (e)"), element("pre", "", task.expected));
    made.append(details);
  }
  const note = element("input", "llmops-label-note");
  note.type = "text";
  note.placeholder = "note (n)";
  note.value = task.note || "";
  note.setAttribute("aria-label", "note");
  made.append(note);
  return made;
};

function render({ model, el }) {
  const root = element("div", "llmops-label");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Labelling");
  el.append(root);
  const status = element("p", "llmops-label-said");
  status.setAttribute("role", "status");
  let waiting = false;
  let shown = 0;

  // One decision at a time: while the kernel is busy, the one that was made waits there, and others are not
  // taken, since nobody has seen yet what they would be about.
  const send = (action, more = {}) => {
    if (waiting) return;
    waiting = true;
    root.setAttribute("aria-busy", "true");
    for (const made of root.querySelectorAll("button")) made.setAttribute("aria-disabled", "true");
    status.textContent = "";
    model.send({ action, number: model.get("task").number, ...more });
  };

  const noteOf = () => root.querySelector(".llmops-label-note")?.value ?? "";

  const label = (name) => send("label", { label: name, note: noteOf() });

  const buttons = (task) => {
    const made = element("div", "llmops-label-buttons");
    if (!task.over) {
      for (const { name, keys } of model.get("labels")) {
        const shown = keys.filter((key) => key !== name).join(", ");
        const choice = button(shown ? `${name} (${shown})` : name, () => label(name));
        choice.classList.add("llmops-label-choice");
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
    root.removeAttribute("aria-busy");
    root.replaceChildren(head(task), body(task), buttons(task), status);
    status.textContent = task.said || "";
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

  root.addEventListener("keydown", (event) => {
    // The notebook has keys of its own; what is typed here is meant for the task.
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target instanceof HTMLInputElement) {
      if (event.key === "Escape" || event.key === "Enter") {
        event.preventDefault();
        root.focus();
      }
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const chosen = model.get("labels").find(({ keys }) => keys.includes(key));
    const act = chosen && !model.get("task").over ? () => label(chosen.name) : actions[key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  model.on("change:task", draw);
  draw();
  return () => model.off("change:task", draw);
}

export default { render };
