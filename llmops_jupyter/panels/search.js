// The search panel: a search box, the results, and a reader that shows a document at a passage.
// Data is only ever set as text, never as markup.

// Milliseconds after the last key until the search starts.
const PAUSE = 250;
const { element, button } = makers("llmops-search");

// Text in pieces, of which those that match are marked. It cannot turn round what stands beside it.
const marked = (name, className, pieces) => {
  const made = element(name, className);
  made.dir = "auto";
  for (const [text, matches] of pieces) made.append(matches ? element("mark", "", text) : text);
  return made;
};

const warnings = (passage) =>
  passage.warnings.map((said) => element("p", "warning llmops-panel-notice", `⚠ This passage ${said}.`));

const leg = (name, score, found) => {
  const said = found ? `${name} no. ${found.rank}, ${score} ${found.score.toFixed(2)}` : `${name} –`;
  return element("span", "", said);
};

const legs = (hit) => {
  const made = element("p", "legs");
  made.append(leg("words", "BM25", hit.words), leg("vectors", "cosine", hit.vectors));
  return made;
};

const textOf = (passage) =>
  marked("p", passage.code ? "text llmops-search-code" : "text", passage.pieces);

const result = (hit, open) => {
  const made = element("li", "hit");
  const title = button("", undefined, "title");
  const source = element("bdi", "source", hit.source);
  title.append(source, element("span", "locator", hit.locator));
  made.append(title);
  if (hit.heading.length) made.append(marked("p", "heading", hit.heading));
  made.append(...warnings(hit), textOf(hit), legs(hit));
  made.onclick = (event) => {
    // Text that was just selected is to be copied, and not to be opened.
    const inTitle = title.contains(event.target);
    if (inTitle || !String(window.getSelection())) open(hit);
  };
  return made;
};

// The folder of JupyterLab's server, '' in other front ends.
const serverRoot = () => {
  if (!document.querySelector(".jp-LabShell")) return "";
  try {
    const config = document.getElementById("jupyter-config-data");
    return String(JSON.parse(config.textContent).serverRoot || "");
  } catch {
    return "";
  }
};

// A link that JupyterLab's command linker follows.
const fileLink = (path) => {
  const made = element("a", "file", "open file");
  made.href = "#";
  made.dataset.commandlinkerCommand = "docmanager:open";
  made.dataset.commandlinkerArgs = JSON.stringify({ path });
  return made;
};

// The fields of a search, and what they hold.
const makeForm = ({ index, modes }, onInput, onSubmit) => {
  const form = element("form", "form");
  form.setAttribute("role", "search");
  const query = labelled(element("input", "query"), `Search ${index}`);
  query.type = "search";
  query.placeholder = `Search ${index}`;
  query.autocomplete = "off";
  query.spellcheck = false;
  const mode = labelled(element("select", "mode"), "Mode");
  mode.append(...modes.map((name) => optionOf(name, name, "auto")));
  const source = labelled(element("input", "filter"), "Only sources with this pattern");
  source.type = "text";
  source.placeholder = "sources, as in docs/*.md";
  const diverse = element("input");
  diverse.type = "checkbox";
  diverse.disabled = !modes.includes("vectors");
  const repeats = element("label", "repeats");
  repeats.append(diverse, "no repeats");
  if (diverse.disabled) repeats.title = "This needs vectors, and the index has none.";
  const go = button("search");
  go.type = "submit"; // without one, Enter does nothing in a form of several fields
  form.append(query, go, mode, source, repeats);
  query.oninput = source.oninput = onInput;
  mode.onchange = diverse.onchange = onSubmit;
  form.onsubmit = (event) => {
    event.preventDefault();
    onSubmit();
  };
  return {
    form,
    query,
    values: () => ({
      query: query.value,
      mode: mode.value,
      source: source.value,
      diverse: diverse.checked,
    }),
    set: (answer) => {
      query.value = answer.query;
      mode.value = answer.mode;
      source.value = answer.source;
      diverse.checked = answer.diverse;
    },
  };
};

const passageOf = (passage, before, current) => {
  const made = element("section", "passage");
  made.dataset.position = passage.position;
  const heading = passage.heading.map(([text]) => text).join("");
  if (heading && heading !== before) made.append(marked("h4", "heading", passage.heading));
  made.append(...warnings(passage), textOf(passage));
  if (passage.locator) made.append(element("p", "locator", passage.locator));
  if (passage.position === current) made.setAttribute("aria-current", "true");
  return [made, heading];
};

// A document around one of its passages. `go` shows another passage, `back` the results.
const makeReader = (shown, go, back) => {
  const root = element("section", "reader");
  labelled(root, `Document ${shown.source}`);
  let current = shown.position;
  const head = element("div", "reader-head");
  const source = element("bdi", "source", shown.source);
  const number = element("span", "number");
  number.setAttribute("role", "status");
  const earlier = labelled(button("‹ previous", () => step(-1)), "previous passage");
  const later = labelled(button("next ›", () => step(1)), "next passage");
  head.append(button("← results", back), source, earlier, number, later);
  if (shown.path) head.append(fileLink(shown.path));
  const pages = labelled(element("div", "pages"), "Text of the document");
  pages.tabIndex = 0;
  pages.setAttribute("role", "region");
  let before = "";
  for (const passage of shown.passages) {
    const [made, heading] = passageOf(passage, before, current);
    before = heading;
    pages.append(made);
  }
  root.append(head);
  if (shown.notice) root.append(element("p", "notice llmops-panel-notice", shown.notice));
  root.append(pages);

  const show = () => {
    for (const made of pages.children) {
      const here = Number(made.dataset.position) === current;
      if (!here) made.removeAttribute("aria-current");
      else {
        made.setAttribute("aria-current", "true");
        pages.scrollTop += made.getBoundingClientRect().top - pages.getBoundingClientRect().top - 24;
      }
    }
    number.textContent = `passage ${current + 1} of ${shown.total}`;
    earlier.disabled = current === 0;
    later.disabled = current === shown.total - 1;
  };
  const step = (by) => {
    const wanted = current + by;
    if (wanted < 0 || wanted >= shown.total) return;
    if (!shown.passages.some(({ position }) => position === wanted)) return go(wanted);
    current = wanted;
    show();
    if (root.querySelector(":focus:disabled")) pages.focus({ preventScroll: true });
  };
  return { root, pages, show, step };
};

// Sends one search at a time, always the newest, and shows only the answer that somebody still waits for.
const makeSearches = (model, name, { values, wait, rest, show, clear }) => {
  let inFlight = ""; // what the kernel works on
  let wanted = ""; // what will be shown: nothing while somebody types
  let due = null; // how many results the next search is for, once the kernel is free
  let timer;
  const stop = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const ask = (limit = model.get("about").step) => {
    stop();
    const asked = values();
    if (!asked.query.trim()) {
      wanted = "";
      due = null;
      clear();
    } else if (inFlight) {
      due = limit;
    } else {
      inFlight = wanted = name();
      wait();
      model.send({ action: "search", ask: inFlight, limit, ...asked });
    }
  };
  const typed = () => {
    wanted = "";
    stop();
    timer = setTimeout(() => ask(), PAUSE);
  };
  const answered = () => {
    const answer = model.get("answer");
    if (inFlight && answer.ask !== inFlight) return; // another view's
    const [ours, limit] = [inFlight, due];
    inFlight = "";
    due = null;
    if (limit !== null) ask(limit);
    else if (ours ? ours === wanted : timer === undefined) show(answer, Boolean(ours));
    else rest();
  };
  return { ask, typed, answered, stop };
};

// Moves the focus among results; false if the key does not do that.
const moveIn = (titles, here, key, leave) => {
  const steps = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: titles.length - 1 };
  const there = steps[key];
  if (key === "Escape" || there === -1) leave();
  else if (there >= 0 && there < titles.length) titles[there].focus();
  else return false;
  return true;
};

function render({ model, el }) {
  const root = rootOf("llmops-search");
  const status = element("p", "said");
  status.setAttribute("role", "status");
  const list = labelled(element("ol", "hits"), "Results");
  const more = button("more results", () => searches.ask(limit + model.get("about").step), "more");
  more.hidden = true;
  const name = makeNames();
  let opening = "";
  let limit = 0;
  let reader = null;
  let from = 0; // the result that was opened

  const active = () => root.getRootNode().activeElement;
  const titles = () => [...list.querySelectorAll(".llmops-search-title")];
  const say = (text, failed = false) => {
    status.textContent = text;
    status.classList.toggle("llmops-panel-notice", failed);
  };
  const busy = makeBusy(root, say);
  const wait = (text) => {
    busy.wait();
    say(text);
  };
  const rest = busy.rest;

  const close = () => {
    opening = "";
    reader?.root.remove();
    reader = null;
    list.hidden = false;
  };
  const clear = () => {
    rest();
    close();
    say("");
    list.replaceChildren();
    more.hidden = true;
  };
  const draw = (answer) => {
    rest();
    close();
    const last = answer.limit > limit && active() === more ? titles().length : -1;
    limit = answer.limit;
    list.replaceChildren(...answer.results.map((hit) => result(hit, open)));
    more.hidden = !answer.more;
    const found = answer.results.length;
    say(answer.said || `${found} passage${found === 1 ? "" : "s"}`, answer.failed);
    if (last >= 0) titles()[last]?.focus();
  };
  const back = () => {
    draw(model.get("answer"));
    titles()[from]?.focus();
  };

  const open = (passage, position = passage.position) => {
    const { query, results } = model.get("answer");
    const place = results.findIndex(({ id }) => id === passage.id);
    if (place >= 0) from = place;
    opening = name();
    const { source, version } = passage;
    wait("Opening…");
    model.send({ action: "open", ask: opening, source, version, position, query, root: serverRoot() });
  };
  const opened = () => {
    const shown = model.get("opened");
    if (shown.ask !== opening) return;
    rest();
    if (shown.said) return say(shown.said, true);
    close();
    say("");
    reader = makeReader(shown, (position) => open(shown, position), back);
    list.hidden = more.hidden = true;
    root.append(reader.root);
    reader.show();
    reader.pages.focus({ preventScroll: true });
  };

  const pressed = ({ key, target }) => {
    if (reader?.root.contains(target)) {
      const act = {
        Escape: back,
        ArrowLeft: () => reader.step(-1),
        ArrowRight: () => reader.step(1),
      }[key];
      act?.();
      return Boolean(act);
    }
    const leave = () => fields.query.focus();
    if (list.contains(target)) return moveIn(titles(), titles().indexOf(active()), key, leave);
    if (target !== fields.query || key !== "ArrowDown" || reader) return false;
    titles()[0]?.focus();
    return true;
  };
  keepKeys(root, (event) => !(event.ctrlKey || event.metaKey || event.altKey) && pressed(event));

  const typed = () => {
    opening = ""; // a document that comes now would take the focus away
    searches.typed();
  };
  const fields = makeForm(model.get("about"), typed, () => searches.ask());
  const searches = makeSearches(model, name, {
    values: fields.values,
    wait: () => wait("Searching…"),
    rest,
    clear,
    show: (answer, ours) => {
      if (!ours) fields.set(answer);
      draw(answer);
    },
  });
  root.append(fields.form, status, list, more);
  el.append(root);
  const stopListening = listen(model, { answer: searches.answered, opened });
  if (model.get("answer").query) searches.answered();
  return () => {
    searches.stop();
    busy.stop();
    stopListening();
  };
}

export default { render };
