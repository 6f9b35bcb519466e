// One front end for both uses. Static page: `model.frames` holds a frame for every setting of the grid.
// Live kernel: frames are asked for by message, and sliders may leave the grid.

let count = 0;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function slider(knob, start, live, onChange) {
  const id = `privlab-${count++}`;
  const free = live && knob.live;
  const [low, high, step] = free ? knob.live : [0, knob.values.length - 1, 1];
  const input = make("input", {
    id, type: "range", min: low, max: high, step, name: knob.name,
    // JupyterLab takes the arrow keys for itself unless this stands on the input
    "data-lm-suppress-shortcuts": "true",
  });
  input.value = free ? start : knob.values.indexOf(start);
  const output = make("output", { for: id });
  const value = () => (free ? Number(input.value) : knob.values[Number(input.value)]);
  const show = () => {
    output.textContent = value();
    input.setAttribute("aria-valuetext", `${knob.label} ${value()}`);
  };
  input.addEventListener("input", () => { show(); onChange(); });
  show();
  return { name: knob.name, value, node: make("div", { class: "pl-knob" }, make("label", { for: id }, knob.label), output, input) };
}

function render({ model, el }) {
  const spec = model.get("spec");
  const live = !model.frames;
  const picture = make("img", { class: "pl-picture dark-light", width: spec.size[0], height: spec.size[1] });
  const numbers = make("div", { class: "pl-numbers", "aria-live": "polite" });
  const state = make("p", { class: "pl-state" });
  let latest = 0;

  const paint = (frame) => {
    picture.src = frame.image;
    picture.alt = frame.alt;
    numbers.replaceChildren(...Object.entries(frame.numbers).map(
      ([name, value]) => make("div", {}, make("span", {}, name), " ", make("b", {}, value))));
    state.textContent = live ? "live: a kernel computes every setting" : "";
  };
  const settings = () => Object.fromEntries(knobs.map((knob) => [knob.name, knob.value()]));
  const update = () => {
    const chosen = settings();
    if (!live) return paint(model.frames[spec.knobs.map((knob) => chosen[knob.name]).join("|")]);
    state.textContent = "computing …";
    model.send({ kind: "frame", id: ++latest, settings: chosen });
  };
  const knobs = spec.knobs.map((knob) => slider(knob, spec.start[knob.name], live, update));

  if (live) {
    model.on("msg:custom", (message) => {
      if (message.kind === "frame" && message.id === latest) paint(message.frame);
      if (message.kind === "error" && message.id === latest) state.textContent = message.text;
    });
  }
  const root = make("section", { class: "pl-explorer", "aria-label": spec.title },
    make("div", { class: "pl-knobs" }, ...knobs.map((knob) => knob.node)), picture, numbers, state);
  el.replaceChildren(root);
  paint(live ? model.get("first") : model.frames[spec.knobs.map((knob) => spec.start[knob.name]).join("|")]);
}

export default { render };
