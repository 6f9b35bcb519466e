// Slides: arrows, page keys and space move; `d` changes between light and dark; printing is always light.
const slides = [...document.querySelectorAll("main > section")];
const root = document.documentElement;
let at = 0;

// An explorer's pictures are as wide as there is room for; here they are made smaller until its numbers fit below. Of a
// single drawing only the drawing is, and not the words below it.
function fit() {
  const box = slides[at].querySelector(".html");
  const picture = box?.querySelector(".pl-picture > [aria-hidden]:not(.pl-plots) > svg") ?? box?.querySelector(".pl-picture");
  if (!picture) return;
  picture.style.maxWidth = "";
  for (let width = box.clientWidth; box.scrollHeight > box.clientHeight + 1 && width > 150; width *= 0.95) picture.style.maxWidth = `${width}px`;
}
addEventListener("resize", () => fit());

function show(number, focus = true) {
  at = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, place) => { slide.hidden = place !== at; });
  document.querySelector("output").textContent = `${at + 1} / ${slides.length}`;
  document.querySelector('[data-go="-1"]').disabled = at === 0;
  document.querySelector('[data-go="1"]').disabled = at === slides.length - 1;
  history.replaceState(null, "", `#${at + 1}`);
  if (focus) slides[at].querySelector("h1, h2").focus({ preventScroll: true });
  scrollTo(0, 0);
  fit();
}

const KEYS = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
function turn() { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; }

addEventListener("keydown", event => {
  // A slider of an explorer keeps its arrows, a button its space.
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
  if (event.key === " " && event.target.closest?.("button, summary, a")) return;
  if (event.key in KEYS) show(at + KEYS[event.key]);
  else if (event.key === "Home") show(0);
  else if (event.key === "End") show(slides.length - 1);
  else if (event.key === "d") turn();
  else return;
  event.preventDefault();
});
document.querySelectorAll("[data-go]").forEach(each => each.addEventListener("click", () => show(at + Number(each.dataset.go), false)));
document.querySelector("[data-theme-button]").addEventListener("click", turn);

// An explorer writes its setting where the number of the slide stands; both can be opened. It is drawn once it is loaded.
addEventListener("load", () => setTimeout(fit));
show((parseInt(location.hash.slice(1), 10) || 1) - 1, false);

let before = null;
addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; });
addEventListener("afterprint", () => { root.dataset.theme = before ?? root.dataset.theme; });
