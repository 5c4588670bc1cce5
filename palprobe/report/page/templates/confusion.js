// Another row's confusion, in the table that is there already.
const SHADES = 10, TOLD = 2;
const chapters = new Map(JSON.parse(document.getElementById("data").textContent).map((one) => [one.id, one]));

function shade(cell, count, total) {
  const number = total ? Math.min(SHADES - 1, Math.round((count / total) * (SHADES - 1))) : 0;
  cell.className = cell.className.replace(/\bs\d\b/, `s${number}`);
}

// [reference, answer, count, …] as a line of counts for each reference.
function lines(confusion, counts, height) {
  const found = Array.from({ length: height }, () => new Array(confusion.classes.length).fill(0));
  for (let at = 0; at < counts.length; at += 3) found[counts[at]][counts[at + 1]] = counts[at + 2];
  return found;
}

function showSquare(row, line) {
  const total = line.reduce((sum, count) => sum + count, 0);
  line.forEach((count, answer) => {
    const cell = row.cells[answer + 1];
    cell.textContent = count || "";
    shade(cell, count, total);
  });
}

function showListed(row, line, reference, classes) {
  const total = line.reduce((sum, count) => sum + count, 0);
  const taken = line.map((count, answer) => [count, answer]).filter(([count, answer]) => count && answer !== reference);
  taken.sort((one, other) => other[0] - one[0] || one[1] - other[1]);
  row.cells[1].textContent = line[reference];
  shade(row.cells[1], line[reference], total);
  row.cells[2].textContent = total;
  row.cells[3].textContent = taken.slice(0, TOLD).map(([count, answer]) => `${classes[answer]} ${count}`).join(", ");
}

for (const select of document.querySelectorAll("select[data-confusion]")) {
  const { confusion } = chapters.get(select.dataset.confusion);
  const table = document.getElementById(`${select.dataset.confusion}-confusion`);
  select.addEventListener("change", () => {
    const chosen = confusion.rows[Number(select.value)];
    const rows = [...table.tBodies[0].rows];
    table.querySelector("[data-row]").textContent = chosen.name;
    lines(confusion, chosen.counts, rows.length).forEach((line, reference) => {
      if (confusion.square) showSquare(rows[reference], line);
      else showListed(rows[reference], line, reference, confusion.classes);
    });
  });
}
