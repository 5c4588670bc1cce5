// Another row's confusion, in the table that is there already.
const SHADES = 10;
const chapters = new Map(JSON.parse(document.getElementById("data").textContent).map((one) => [one.id, one]));

function shade(cell, count, total) {
  const number = total ? Math.min(SHADES - 1, Math.round((count / total) * (SHADES - 1))) : 0;
  cell.className = cell.className.replace(/\bs\d\b/, `s${number}`);
}

// A number for each answer.
function showSquare(cells, counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  counts.forEach((count, answer) => {
    cells[answer + 1].textContent = count || "";
    shade(cells[answer + 1], count, total);
  });
}

// Right, asked, and then class and count of what it is taken for.
function showListed(cells, [right, asked, ...taken], classes) {
  const told = [];
  for (let at = 0; at < taken.length; at += 2) told.push(`${classes[taken[at]]} ${taken[at + 1]}`);
  cells[1].textContent = right;
  shade(cells[1], right, asked);
  cells[2].textContent = asked;
  cells[3].textContent = told.join(", ");
}

for (const select of document.querySelectorAll("select[data-confusion]")) {
  const { confusion } = chapters.get(select.dataset.confusion);
  const table = document.getElementById(`${select.dataset.confusion}-confusion`);
  select.addEventListener("change", () => {
    const { name, lines } = confusion.rows[Number(select.value)];
    table.querySelector("[data-row]").textContent = name;
    lines.forEach((line, reference) => {
      const { cells } = table.tBodies[0].rows[reference];
      if (confusion.square) showSquare(cells, line);
      else showListed(cells, line, confusion.classes);
    });
  });
}
