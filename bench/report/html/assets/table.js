// Sorting, filters and columns of the tables. Without this script the tables still hold every number.
(() => {
  const known = (value) => value !== null && value !== undefined && value !== "";
  const valueOf = (row, place) => {
    const cell = row.cells[place];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    if (cell.classList.contains("why")) return null;
    return (cell.querySelector(".name") || cell).textContent.trim().toLowerCase();
  };
  const compare = (a, b, sign) => {
    if (!known(a) || !known(b)) return known(a) ? -1 : known(b) ? 1 : 0; // what is missing comes last in either direction
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  };

  function order(rows, place, sign, together) {
    const values = new Map(rows.map((row) => [row, valueOf(row, place)]));
    const byValue = (a, b) => compare(values.get(a), values.get(b), sign);
    if (!together) return [...rows].sort(byValue);
    const pairs = new Map();
    for (const row of rows) pairs.set(row.dataset.pair, [...(pairs.get(row.dataset.pair) || []), row]);
    const groups = [...pairs.values()].map((members) => members.sort(byValue));
    return groups.sort((a, b) => byValue(a[0], b[0])).flat();
  }

  // A table that fits needs no window of its own, so that its head can stay in sight.
  const fit = (table) => {
    const frame = table.closest(".scroll");
    frame.classList.toggle("fits", table.offsetWidth <= frame.clientWidth);
  };
  const sizes = new ResizeObserver((entries) => { for (const entry of entries) fit(entry.target); });

  function link(body, together) {
    // A line beside rows that belong together, as long as they stand together.
    const rows = [...body.rows].filter((row) => !row.hidden);
    const same = (one, other) => together && one && other && one.dataset.pair === other.dataset.pair;
    rows.forEach((row, i) => {
      const before = same(rows[i - 1], row), after = same(row, rows[i + 1]);
      row.classList.toggle("linked", Boolean(before || after));
      row.classList.toggle("first", Boolean(!before && after));
      row.classList.toggle("inner", Boolean(before && after));
      row.classList.toggle("last", Boolean(before && !after));
    });
  }

  function sortable(table, isTogether, changed) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.querySelector("tbody.rows");
    let first = null; // in the order in which they were written
    let current = null;
    const show = () => {
      if (!body) return;
      first ??= [...body.rows];
      const rows = current ? order(first, current.place, current.sign, isTogether()) : first;
      body.append(...rows);
      changed();
    };
    heads.forEach((head, place) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const next = was === null ? head.dataset.first : was === "ascending" ? "descending" : "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", next);
        current = { place, sign: next === "ascending" ? 1 : -1 };
        show();
      });
    });
    return show;
  }

  for (const box of document.querySelectorAll(".results")) {
    const table = box.querySelector("table.main"), body = table.querySelector("tbody.rows");
    const count = box.querySelector(".count"), together = box.querySelector("[data-together]");
    const fields = Object.fromEntries([...box.querySelectorAll("[data-filter]")].map((field) => [field.dataset.filter, field]));
    const isTogether = () => Boolean(together && together.checked);
    const filter = () => {
      if (!body) return;
      const text = fields.text.value.trim().toLowerCase();
      const matches = (row) =>
        (!text || row.textContent.toLowerCase().includes(text)) &&
        (!fields.family || !fields.family.value || row.dataset.family === fields.family.value) &&
        (!fields.status || !fields.status.value || row.dataset.status === fields.status.value);
      let shown = 0;
      for (const row of body.rows) shown += (row.hidden = !matches(row)) ? 0 : 1;
      count.textContent = shown === body.rows.length ? `${shown} rows` : `${shown} of ${body.rows.length} rows`;
      link(body, isTogether());
    };
    const show = sortable(table, isTogether, filter);
    for (const field of Object.values(fields)) field.addEventListener("input", filter);
    if (together) together.addEventListener("change", show);
    box.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    for (const choice of box.querySelectorAll("[data-column]")) {
      choice.addEventListener("change", () => {
        const place = Number(choice.dataset.column);
        for (const row of table.rows) if (row.cells[place]) row.cells[place].hidden = !choice.checked;
        fit(table);
      });
    }
    if (body) {
      const partners = (row, on) => {
        for (const other of body.rows) if (other !== row && other.dataset.pair === row.dataset.pair) other.classList.toggle("partner", on);
      };
      for (const row of body.rows) {
        row.addEventListener("pointerenter", () => partners(row, true));
        row.addEventListener("pointerleave", () => partners(row, false));
      }
    }
    filter();
    sizes.observe(table);
    fit(table);
  }
  // A table that fits needs no window of its own, so that its head can stay in sight.
  // Pairs are many and folded away: they are written out when somebody opens them.
  const signed = (value) => (value === null ? "not known" : value.toFixed(1).replace("-", "−").replace(/^−0\.0$/, "0.0"));
  const chanceOf = (value) => (value === null ? "not known" : `${value}%`);
  const probability = (value) => (value === null ? "not known" : value < 0.001 ? "< 0.001" : value.toFixed(3));
  function write(body) {
    const { names, lines, chances } = JSON.parse(document.getElementById("numbers").textContent).pairs[body.dataset.pairs];
    const level = Number(body.dataset.level);
    const rows = document.createDocumentFragment();
    for (const [one, other, difference, low, high, p, adjusted, chance] of lines) {
      const row = rows.appendChild(document.createElement("tr"));
      const put = (text, value) => {
        const cell = row.insertCell();
        cell.textContent = text;
        if (value === undefined) cell.className = "text"; else if (value === null) cell.className = "why"; else cell.dataset.v = value;
      };
      row.className = adjusted < level ? "differs" : "";
      put(names[one]);
      put(names[other]);
      put(signed(difference), difference);
      put(`${signed(low)} to ${signed(high)}`, low);
      put(probability(p), p);
      put(probability(adjusted), adjusted);
      if (chances) put(chanceOf(chance), chance);
    }
    body.append(rows);
  }
  for (const body of document.querySelectorAll("[data-pairs]")) {
    body.closest("details").addEventListener("toggle", () => write(body), { once: true });
  }
  for (const table of document.querySelectorAll("table.sortable")) sortable(table, () => false, () => {});
})();
