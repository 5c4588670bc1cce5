// The item browser: a list that opens item by item, so that only what is looked at is ever made.
const STEP = 40; // items that are shown at once

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const count = (digit) => (digit === "-" ? null : Number.parseInt(digit, 36));

function rowsOf(items, at) {
  const rows = items.rows.map((row) => ({
    name: row.name, answer: items.texts[row.answers[at]], right: count(row.right[at]), seeds: count(row.seeds[at]),
  }));
  return rows.filter((row) => row.seeds);
}

function mark(row) {
  const verdict = row.right === row.seeds ? "right" : row.right ? "partly" : "wrong";
  const text = { right: "✓", partly: "~", wrong: "✗" }[verdict];
  return make("span", { className: `mark ${verdict}`, textContent: text, title: `${row.name}: ${row.right} of ${row.seeds} right` });
}

function answersTable(rows, judged) {
  const heads = ["row", "answer", ...(judged ? ["right"] : [])];
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })));
  const lines = rows.map((row) => make("tr", {},
    make("th", { scope: "row", textContent: row.name }),
    make("td", { textContent: row.answer }),
    ...(judged ? [make("td", { textContent: `${row.right} of ${row.seeds} `, className: "number" }, mark(row))] : [])));
  return make("table", { className: "plain" }, make("thead", {}, head), make("tbody", {}, ...lines));
}

function itemOf(items, at) {
  const rows = rowsOf(items, at);
  const part = items.texts[items.parts[at]];
  const marks = make("span", { className: "marks" }, ...(items.judged ? rows.map(mark) : []));
  marks.setAttribute("aria-hidden", "true");
  const right = rows.filter((row) => row.right === row.seeds).length;
  const details = make("details", { className: "item" }, make("summary", {},
    make("code", { textContent: items.ids[at] }),
    make("b", { textContent: items.texts[items.references[at]] }),
    make("span", { className: "quiet", textContent: part }),
    make("span", { className: "unseen", textContent: items.judged ? `${right} of ${rows.length} rows right` : "" }), marks));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(answersTable(rows, items.judged));
  });
  return details;
}

// Numbers of the items that hold every word, and on which the rows disagree if that is asked for.
function found(items, words, disagreeing) {
  return items.ids.map((id, at) => at).filter((at) => {
    if (disagreeing && items.disagree[at] !== "1") return false;
    const answers = items.rows.map((row) => items.texts[row.answers[at]]);
    const text = [items.ids[at], items.texts[items.references[at]], items.texts[items.parts[at]], ...answers].join(" ");
    return words.every((word) => text.toLowerCase().includes(word));
  });
}

function browse(place, items) {
  const find = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  const only = make("input", { type: "checkbox" });
  const told = make("output");
  told.setAttribute("aria-live", "polite");
  const list = make("div", { className: "items" });
  const more = make("button", { type: "button", textContent: "Show more" });
  let left = [];
  const add = () => {
    list.append(...left.splice(0, STEP).map((at) => itemOf(items, at)));
    more.hidden = !left.length;
  };
  const start = () => {
    left = found(items, find.value.toLowerCase().split(/\s+/).filter(Boolean), only.checked);
    told.textContent = `${left.length} of ${items.ids.length} items`;
    list.replaceChildren();
    add();
  };
  more.addEventListener("click", add);
  const form = make("form", { className: "filters" }, make("label", {}, "Find ", find),
    ...(items.judged ? [make("label", {}, only, " only where rows disagree")] : []), told);
  form.addEventListener("input", start);
  form.addEventListener("submit", (event) => event.preventDefault());
  place.append(form, list, more);
  start();
}

const data = new Map(JSON.parse(document.getElementById("data").textContent).map((one) => [one.id, one.items]));
for (const details of document.querySelectorAll("details[data-items]")) {
  details.addEventListener("toggle", () => {
    const place = details.querySelector(".browser");
    if (details.open && !place.childElementCount) browse(place, data.get(details.dataset.items));
  });
}
