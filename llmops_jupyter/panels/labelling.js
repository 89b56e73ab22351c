// The labelling widget: shows one task at a time, sends what the person decides. Data is only ever set as
// text, never as markup.

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const block = (title, text, className) => {
  const part = element("section", `llmops-label-part ${className || ""}`);
  part.append(element("h4", "", title), element("pre", "", text));
  return part;
};

function render({ model, el }) {
  const root = element("div", "llmops-label");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Labelling");
  el.append(root);

  const send = (action, more = {}) => {
    model.send({ action, number: model.get("task").number, ...more });
  };

  const noteOf = () => root.querySelector(".llmops-label-note")?.value ?? "";

  const draw = () => {
    const task = model.get("task");
    const labels = model.get("labels");
    const hadFocus = root.contains(document.activeElement);
    root.replaceChildren();

    const head = element("div", "llmops-label-head");
    const bar = element("progress");
    bar.max = task.total;
    bar.value = task.done;
    bar.setAttribute("aria-label", `${task.done} of ${task.total} labelled`);
    head.append(bar, element("span", "", `${task.done} of ${task.total} labelled`));
    root.append(head);

    const body = element("div", "llmops-label-body");
    if (task.over) {
      body.append(element("p", "llmops-label-over", "Everything is labelled. Thank you."));
    } else {
      if (task.input) body.append(block("asked", task.input));
      const answers = element("div", "llmops-label-answers");
      task.outputs.forEach((text, i) => {
        const title = task.outputs.length > 1 ? ["left", "right"][i] : "answer";
        answers.append(block(title, text, "llmops-label-answer"));
      });
      body.append(answers);
      if (task.expected) {
        const details = element("details");
        details.append(element("summary", "", "expected answer"), element("pre", "", task.expected));
        body.append(details);
      }
      const note = element("input", "llmops-label-note");
      note.type = "text";
      note.placeholder = "note (n)";
      note.setAttribute("aria-label", "note");
      body.append(note);
    }
    root.append(body);

    const buttons = element("div", "llmops-label-buttons");
    if (!task.over) {
      labels.forEach((label, i) => {
        const button = element("button", "llmops-label-choice", `${label} (${i + 1})`);
        button.type = "button";
        if (task.given === label) button.setAttribute("aria-pressed", "true");
        button.onclick = () => send("label", { label, note: noteOf() });
        buttons.append(button);
      });
      const skip = element("button", "", "skip (s)");
      skip.type = "button";
      skip.onclick = () => send("skip");
      buttons.append(skip);
    }
    const undo = element("button", "", "undo (u)");
    undo.type = "button";
    undo.disabled = !task.undo;
    undo.onclick = () => send("undo");
    buttons.append(undo);
    root.append(buttons);

    const said = element("p", "llmops-label-said", task.said || "");
    said.setAttribute("role", "status");
    root.append(said);
    if (hadFocus) root.focus();
  };

  root.addEventListener("keydown", (event) => {
    // The notebook has keys of its own; what is typed here is meant for the task.
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement) {
      if (event.key === "Escape" || event.key === "Enter") {
        event.preventDefault();
        root.focus();
      }
      return;
    }
    const labels = model.get("labels");
    const task = model.get("task");
    const place = Number.parseInt(event.key, 10);
    if (!task.over && place >= 1 && place <= labels.length) {
      event.preventDefault();
      send("label", { label: labels[place - 1], note: noteOf() });
    } else if (event.key === "s" || event.key === "ArrowRight") {
      event.preventDefault();
      if (!task.over) send("skip");
    } else if (event.key === "u" || event.key === "ArrowLeft") {
      event.preventDefault();
      if (task.undo) send("undo");
    } else if (event.key === "n") {
      event.preventDefault();
      root.querySelector(".llmops-label-note")?.focus();
    }
  });

  model.on("change:task", draw);
  draw();
  return () => model.off("change:task", draw);
}

export default { render };
