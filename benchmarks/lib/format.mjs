// Figures and columns.

export function count(figure) {
  return Number.isFinite(figure) ? Math.round(figure).toLocaleString("en-US") : "–";
}

export function times(figure) {
  if (figure === undefined) return "–";
  return figure < 10 ? figure.toFixed(2) : figure.toFixed(1);
}

export function spread(compared) {
  if (compared === undefined || compared.low === compared.high) return "";
  return `(${times(compared.low)}–${times(compared.high)})`;
}

export function share(figure) {
  return `${Math.round(figure * 100)} %`;
}

/** Names to the left, figures to the right; what is longer than its column (a failure) sticks out. */
export function alignColumns(rows) {
  const isTable = (row) => row.length > 2;
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.filter(isTable).map((row) => row[column]?.length ?? 0)),
  );
  const last = rows[0].length - 1;
  return rows.map((row) => {
    const first = `  ${(row[0] ?? "").padEnd(Math.max(widths[0], 16))}`;
    if (!isTable(row)) return `${first}  ${row.slice(1).join("")}`;
    const isWords = rows[0][last] === "goal met";
    const cells = row.slice(1).map((cell, index) => {
      const column = index + 1;
      return isWords && column === last ? cell : cell.padStart(widths[column]);
    });
    return `${first}  ${cells.join("  ")}`.trimEnd();
  });
}
