// A click on a heading sorts by it, the second click the other way round; cells without a number come last.
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.querySelectorAll("th[data-column]")];
  heads.forEach(head => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[head.dataset.column].dataset.value ?? row.cells[head.dataset.column].textContent;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    };
    table.tBodies[0].append(...[...table.rows].filter(row => row.parentNode === table.tBodies[0]).sort(compare));
  }));
});
