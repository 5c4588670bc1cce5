// Tables that can be sorted by any column and filtered. They are whole without this script.
const UP = "ascending", DOWN = "descending";

function valueOf(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value === undefined) return cell.textContent;
  return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
}

// What is not known comes last, whichever way the others go; equals stay in the order of the file.
function compare(one, other, sign) {
  if (typeof one === "string") return sign * one.localeCompare(other, "en", { numeric: true });
  if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other);
  return sign * (one - other);
}

function sortBy(table, head) {
  const numeric = head.classList.contains("number");
  const first = numeric ? DOWN : UP;
  const direction = head.getAttribute("aria-sort") === first ? (first === UP ? DOWN : UP) : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const body = table.tBodies[0];
  const sign = direction === UP ? 1 : -1;
  const rows = [...body.rows].map((row) => [valueOf(row, head.cellIndex), row]);
  rows.sort((one, other) => compare(one[0], other[0], sign));
  body.append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, head));
    head.append(button);
  }
}

function filter(form, table) {
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
  const words = form.elements.find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = [...form.querySelectorAll("select")].filter((select) => select.value);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    const kept = words.every((word) => text.includes(word))
      && chosen.every((select) => row.cells[heads.indexOf(select.name)].textContent === select.value);
    row.hidden = !kept;
    shown += kept;
  }
  form.querySelector("output").textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
for (const form of document.querySelectorAll("form[data-filters]")) {
  const table = document.getElementById(form.dataset.filters);
  for (const kind of ["input", "change"]) form.addEventListener(kind, () => filter(form, table));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => filter(form, table)));
  filter(form, table);
}
