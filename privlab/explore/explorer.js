// One front end for both uses. Static page: `model.page` holds a frame for every setting of the grid, and the
// sprite with their images stands in the page's style. Live kernel: frames are asked for by message, and sliders
// may leave the grid.

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Unique whatever stands on the page: each static explorer is a module of its own. (randomUUID wants https.)
const unique = () => `pl-${Math.random().toString(36).slice(2)}`;
// JupyterLab takes the arrow keys for itself unless this stands on an input.
const KEYS = { "data-lm-suppress-shortcuts": "true" };

function words({ unit = "" }, value) {
  const text = String(value).replaceAll("_", " ");
  return `${text} ${value === 1 ? unit.replace(/s$/, "") : unit}`.trim();
}

function slider(knob, start, live, onChange) {
  const free = live && knob.live;
  const [low, high, step] = free ? knob.live : [0, knob.values.length - 1, 1];
  const list = unique();
  const input = make("input", { type: "range", min: low, max: high, step, name: knob.name, list, ...KEYS });
  const output = make("span", { class: "pl-value", "aria-hidden": "true" }); // the slider says it itself
  const value = () => (free ? Number(input.value) : knob.values[Number(input.value)]);
  const show = () => {
    output.textContent = words(knob, value());
    input.setAttribute("aria-valuetext", words(knob, value()));
  };
  const choose = (text) => {
    const place = knob.values.findIndex((each) => String(each) === String(text));
    if (free && Number.isFinite(Number(text))) input.value = Number(text);
    else if (!free && place >= 0) input.value = place;
    show();
  };
  input.addEventListener("input", () => { show(); onChange(); });
  const ticks = knob.values.map((each, place) => make("option", { value: free ? each : place }));
  const ends = free ? [low, high] : [knob.values[0], knob.values.at(-1)];
  choose(start);
  return {
    name: knob.name, value, choose,
    node: make("div", { class: "pl-knob" },
      make("label", {}, make("span", { class: "pl-label" }, knob.label), output, input),
      make("datalist", { id: list }, ...ticks),
      make("div", { class: "pl-ends", "aria-hidden": "true" }, ...ends.map((end) => make("span", {}, words({}, end))))),
  };
}

function buttons(knob, start, live, onChange) {
  const name = unique();
  const inputs = knob.values.map((each) => make("input", { type: "radio", name, value: each, ...KEYS }));
  const choose = (text) => {
    const wanted = inputs.find((input) => input.value === String(text));
    if (wanted) wanted.checked = true;
  };
  inputs.forEach((input) => input.addEventListener("change", onChange));
  choose(start);
  return {
    name: knob.name, choose,
    value: () => knob.values[inputs.findIndex((input) => input.checked)],
    node: make("fieldset", { class: "pl-knob pl-choice" }, make("legend", {}, knob.label),
      ...inputs.map((input, place) => make("label", {}, input, make("span", {}, words(knob, knob.values[place]))))),
  };
}

// As `_position` in frame.py: in percent, 0 is the first column and 100 the last.
function position(tile, { columns, lines }) {
  const across = (tile % columns) / Math.max(1, columns - 1);
  const down = Math.floor(tile / columns) / Math.max(1, lines - 1);
  return `background-position:${100 * across}% ${100 * down}%`;
}

function drawPanel(panel, sprite) {
  const marked = panel.marked && new Set(panel.marked);
  const tiles = panel.tiles.map((tile, place) =>
    make("i", { class: marked?.has(place) ? "pl-tile pl-on" : "pl-tile", style: position(tile, sprite) }));
  const title = make("p", { class: "pl-title" }, panel.title);
  if (panel.note) title.append(" ", make("small", {}, panel.note));
  const grid = make("div", { class: marked ? "pl-tiles pl-marks" : "pl-tiles", style: `--pl-columns:${panel.columns}` }, ...tiles);
  return make("div", { class: "pl-panel" }, ...(panel.title ? [title] : []), grid);
}

function drawNumbers({ numbers, heads }) {
  const entries = Object.entries(numbers);
  const single = entries.filter(([, value]) => !Array.isArray(value));
  const several = entries.filter(([, value]) => Array.isArray(value));
  const list = single.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  const line = ([name, values]) => make("tr", {}, make("th", { scope: "row" }, name), ...values.map((each) => make("td", {}, each)));
  const head = make("tr", {}, make("td"), ...heads.map((each) => make("th", { scope: "col" }, each)));
  return [
    ...(several.length ? [make("table", {}, make("thead", {}, head), make("tbody", {}, ...several.map(line)))] : []),
    ...(single.length ? [make("dl", {}, ...list)] : []),
  ];
}

// The setting stands in the address, `#name?knob=value`, and such an address is opened at its setting.
function link(el, name, knobs, update) {
  const twins = [...document.querySelectorAll(`[data-explorer="${name}"]`)];
  const own = twins.indexOf(el) > 0 ? `${name}-${twins.indexOf(el) + 1}` : name;
  const open = () => {
    const [target, query] = location.hash.slice(1).split("?");
    if (target !== own || !query) return;
    const wanted = new URLSearchParams(query);
    knobs.filter((knob) => wanted.has(knob.name)).forEach((knob) => knob.choose(wanted.get(knob.name)));
    update();
    el.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
  return (chosen) => history.replaceState(history.state, "", `#${own}?${new URLSearchParams(chosen)}`);
}

function render({ model, el }) {
  const { page } = model;
  const spec = model.get("spec");
  const live = !page;
  const picture = make("div", { role: "img" });
  const numbers = make("div", { class: "pl-numbers" });
  const said = make("p", { class: "pl-said", "aria-live": "polite" }); // the one thing that is spoken of a change
  const state = make("p", { class: "pl-state" });
  const look = make("style"); // of the frame that a kernel sent
  const own = unique();
  let latest = 0, write = () => {};

  const paint = (frame, sprite) => {
    picture.className = frame.beside ? "pl-picture pl-beside" : "pl-picture";
    picture.setAttribute("aria-label", frame.alt);
    picture.innerHTML = frame.plot; // our own SVG, or nothing
    picture.append(...frame.panels.map((panel) => drawPanel(panel, sprite)));
    numbers.replaceChildren(...drawNumbers(frame));
    state.textContent = live ? "live: a kernel computes every setting" : "";
  };
  const receive = ({ sprite, frames }) => {
    if (sprite) {
      const [height, width] = sprite.shape;
      const size = `${100 * sprite.columns}% ${100 * sprite.lines}%`;
      look.textContent = `.${own} .pl-tile{background-image:url(${sprite.image});background-size:${size};aspect-ratio:${width}/${height}}`;
    }
    paint(frames[""], sprite);
    return frames[""];
  };
  const settings = () => Object.fromEntries(knobs.map((knob) => [knob.name, knob.value()]));
  const show = () => {
    const chosen = settings();
    if (live) {
      state.textContent = "computing …";
      model.send({ kind: "frame", id: ++latest, settings: chosen });
      return;
    }
    const frame = page.frames[spec.knobs.map((knob) => chosen[knob.name]).join("|")];
    paint(frame, page.sprite);
    said.textContent = frame.alt;
  };
  const change = () => { show(); write(settings()); };
  const knobs = spec.knobs.map((knob) => (knob.choice ? buttons : slider)(knob, spec.start[knob.name], live, change));
  const reset = make("button", { type: "button", class: "pl-reset", ...KEYS }, "Reset");
  reset.addEventListener("click", () => { knobs.forEach((knob) => knob.choose(spec.start[knob.name])); change(); });

  if (live) {
    model.on("msg:custom", (message) => {
      if (message.id !== latest) return;
      if (message.kind === "frame") said.textContent = receive(message.page).alt;
      if (message.kind === "error") state.textContent = message.text;
    });
  }
  el.replaceChildren(make("section", { class: `pl-explorer ${own}`, "aria-label": spec.title },
    look, make("div", { class: "pl-knobs" }, ...knobs.map((knob) => knob.node), reset), picture, numbers, said, state));
  if (live) receive(model.get("first"));
  else {
    paint(page.frames[spec.knobs.map((knob) => spec.start[knob.name]).join("|")], page.sprite);
    write = link(el, spec.name, knobs, show);
  }
}

export default { render };
