// Boxes that scroll can be reached with the keyboard, and show on which side they go on.
const BOXES = ".highlight pre, .cell_output pre, .cell_output .output.text_html, .pst-scrollable-table-container, .board-scroll, mjx-container[display=true]";

function look(box) {
  const room = box.scrollWidth - box.clientWidth;
  box.classList.toggle("goes-on", room > 1 && box.scrollLeft < room - 1);
  if (room > 1 && box.tabIndex < 0) { // the theme sets -1 on code that was hidden when it looked
    box.tabIndex = 0;
    if (!box.matches("pre, mjx-container")) { box.setAttribute("role", "group"); box.setAttribute("aria-label", "wide, scrolls sideways"); }
  }
}

function watch() {
  // A box inside a closed solution has no size yet; it is looked at when it gets one.
  const sizes = new ResizeObserver(entries => entries.forEach(entry => look(entry.target)));
  for (const box of document.querySelectorAll(BOXES)) {
    sizes.observe(box);
    box.addEventListener("scroll", () => look(box), { passive: true });
  }
}

// Paper is white: the page is printed in its light colours, whatever is on the screen.
let before = null;
function toPaper(print) {
  const root = document.documentElement;
  if (print && before === null) { before = root.dataset.theme; root.dataset.theme = "light"; }
  if (!print && before !== null) { root.dataset.theme = before; before = null; }
}
addEventListener("beforeprint", () => toPaper(true));
addEventListener("afterprint", () => toPaper(false));
matchMedia("print").addEventListener("change", event => toPaper(event.matches));

addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(watch));
addEventListener("load", () => document.querySelector(".bd-sidebar-primary .current.active > a")?.scrollIntoView({ block: "nearest" }));
