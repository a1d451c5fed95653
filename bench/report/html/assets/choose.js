// Which rows fit what the reader has, and which of them are best. Without this script the table shows every row.
(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent).choose;
  const points = (value) => (100 * value).toFixed(1).replace("-", "−").replace(/^−0\.0$/, "0.0");
  const rounded = (value) => Number(Math.abs(value) < 100 ? value.toPrecision(3) : value.toFixed(0));
  const short = (value) => rounded(value).toString().replace("-", "−");
  const mean = (values) => (values.some((v) => v === null || v === undefined) ? null : values.reduce((a, b) => a + b, 0) / values.length);
  const listed = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

  // Step-down adjusted p (Holm 1979), as the report's own.
  function holm(p) {
    const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b]), adjusted = [];
    let most = 0;
    order.forEach((i, place) => { most = Math.max(most, p[i] * (p.length - place)); adjusted[i] = Math.min(most, 1); });
    return adjusted;
  }

  // Rows share a letter if and only if they are not said to differ (insert and absorb, Piepho 2004).
  const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const letter = (i) => alphabet[i % 52] + "′".repeat(Math.floor(i / 52));
  const signs = (letters) => (letters || "").match(/[a-zA-Z]′*/g) || [];
  function letters(order, differ) {
    const place = new Map(order.map((row, i) => [row, i]));
    const places = (column) => [...column].map((row) => place.get(row)).sort((a, b) => a - b);
    const inside = (small, large) => [...small].every((row) => large.has(row));
    let columns = [new Set(order)];
    for (const [one, other] of differ) {
      const both = (column) => column.has(one) && column.has(other);
      const kept = columns.filter((column) => !both(column));
      for (const column of columns.filter(both)) {
        for (const row of [one, other]) {
          const split = new Set(column);
          split.delete(row);
          if (!kept.some((k) => inside(split, k))) kept.push(split);
        }
      }
      columns = kept;
    }
    columns.sort((a, b) => {
      const [x, y] = [places(a), places(b)];
      for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i] - y[i];
      return x.length - y.length;
    });
    return new Map(order.map((row) => [row, columns.map((c, i) => (c.has(row) ? letter(i) : "")).join("")]));
  }

  function ties(order, compared, count, level) {
    // p stands for every two rows one < other, row by row.
    const at = (a, b) => { const [i, j] = a < b ? [a, b] : [b, a]; return (i * (2 * count - i - 1)) / 2 + j - i - 1; };
    const pairs = order.flatMap((one, i) => order.slice(i + 1).map((other) => [one, other]));
    const p = pairs.map(([one, other]) => compared.p[at(one, other)]);
    if (p.some((value) => value === null || value === undefined)) return null;
    const adjusted = holm(p);
    return letters(order, pairs.filter((_, i) => adjusted[i] <= level));
  }

  function begin(box) {
    const given = numbers[box.dataset.choose], count = given.names.length;
    const form = box.querySelector("form"), body = box.querySelector("tbody"), told = box.querySelector(".found");
    const rows = [...body.rows], picks = [];
    const all = (kind) => [...form.querySelectorAll(`[data-${kind}]`)];
    const chosen = (kind, every) => {
      const some = all(kind).filter((field) => field.checked).map((field) => field.dataset[kind]);
      return some.length ? some : every;
    };
    rows.forEach((row, i) => {
      const pick = document.createElement("input");
      pick.type = "checkbox";
      pick.checked = true;
      pick.setAttribute("aria-label", `Pick ${given.names[i]}`);
      row.cells[0].prepend(pick, " ");
      picks.push(pick);
      pick.addEventListener("change", show);
      const code = row.querySelector(".command code");
      if (!code) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy the command of ${given.names[i]}`);
      code.after(" ", button);
      button.addEventListener("click", async () => {
        getSelection().selectAllChildren(code); // where the browser refuses, it is marked for copying by hand
        try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; } catch { button.textContent = "Marked"; }
      });
    });

    function show() {
      const targets = Object.keys(given.scores), kept = Object.keys(given.lost);
      const asked = chosen("target", targets), looked = chosen("retained", kept);
      const whole = asked.length === targets.length, every = looked.length === kept.length;
      const score = given.whole.map((value, i) => (whole ? value : mean(asked.map((task) => given.scores[task][i]))));
      const compared = given.compared[asked.map((task) => targets.indexOf(task)).join(" ")];
      const bounds = compared ? compared.bounds : whole ? given.bounds : [];
      const limits = given.limits.map((limit) => {
        const field = form.querySelector(`[data-limit="${limit.name}"]`);
        const redone = limit.name === "forgetting" && !every;
        const values = redone ? limit.values.map((_, i) => { const m = mean(looked.map((task) => given.lost[task][i])); return m === null ? null : 100 * m; }) : limit.values;
        return { ...limit, values, most: field.value.trim() === "" ? null : Number(field.value), redone };
      });
      const limited = limits.filter((limit) => limit.most !== null);
      const against = (i) => {
        if (!picks[i].checked) return "not picked";
        if (score[i] === null) return "no score on these targets";
        const broken = limited.find((limit) => limit.values[i] === null || limit.values[i] > limit.most);
        if (!broken) return "";
        const value = broken.values[i];
        if (value === null) return `${broken.title} not known`;
        const told = rounded(value) > broken.most ? short(value) : `just over ${short(broken.most)}`; // it would look like the limit
        return `${broken.title} ${told} ${broken.unit}`;
      };
      const reasons = rows.map((_, i) => against(i));
      const fitting = rows.map((_, i) => i).filter((i) => !reasons[i]).sort((a, b) => score[b] - score[a] || (given.names[a] < given.names[b] ? -1 : 1));
      const fresh = compared ? ties(fitting, compared, count, given.level) : null;
      // Of a table with too many pairs the groups stay those of the whole; on other targets nothing is known.
      const groups = fresh || (whole && given.letters.some(Boolean) ? new Map(given.letters.map((letters, i) => [i, letters])) : null);
      const untested = !groups || !fitting.length || !groups.get(fitting[0]);
      const alike = (i) => !untested && signs(groups.get(i)).some((sign) => signs(groups.get(fitting[0])).includes(sign));
      rows.forEach((row, i) => {
        const fits = !reasons[i], cells = row.cells;
        row.classList.toggle("out", !fits);
        row.dataset.fits = String(fits);
        cells[1].textContent = !fits ? reasons[i] : i === fitting[0] ? "best" : alike(i) ? "tied with the best" : "fits";
        cells[2].textContent = (fits && groups && groups.get(i)) || "none";
        cells[3].textContent = score[i] === null ? "not measured" : points(score[i]) + (bounds[i] ? ` (${points(bounds[i][0])} to ${points(bounds[i][1])})` : "");
        limits.forEach((limit, place) => { if (limit.redone) cells[4 + place].textContent = limit.values[i] === null ? "not measured" : points(limit.values[i] / 100); });
        if (!limits.some((limit) => limit.redone)) limits.forEach((_, place) => { cells[4 + place].textContent = first[i][place]; });
      });
      body.append(...fitting.map((i) => rows[i]), ...rows.filter((_, i) => reasons[i]));
      told.textContent = sentence(fitting, alike, untested, score, limits, whole) + (groups && !fresh ? " Tie groups are those of the whole table." : "");
    }

    function sentence(fitting, alike, untested, score, limits, whole) {
      if (!fitting.length) return `None of ${count} rows fits.`;
      const best = fitting[0], others = fitting.slice(1).filter(alike), name = (i) => given.names[i];
      const parts = [`${fitting.length} of ${count} rows fit.`];
      const tied = others.length ? `, statistically indistinguishable from ${listed(others.map(name))}` : untested ? ", the highest; no test compared them" : fitting.length > 1 ? ", more than each of the others" : "";
      parts.push(`Best: ${name(best)} with ${points(score[best])}%${tied}.`);
      const least = new Map(); // by row: what it needs least of
      // What is measured in points comes from items: only a test could say who has least of it.
      for (const limit of limits.filter((one) => one.unit !== "points")) {
        const known = [best, ...others].filter((i) => limit.values[i] !== null).sort((a, b) => limit.values[a] - limit.values[b]);
        if (known.length > 1) least.set(known[0], [...(least.get(known[0]) || []), `${limit.title} (${short(limit.values[known[0]])} ${limit.unit})`]);
      }
      const praised = [...least].map(([i, what]) => `${name(i)} has the least ${listed(what)}`);
      if (praised.length) parts.push(`Of these, ${praised.join("; ")}.`);
      if (whole && given.base !== null) parts.push(`The base has ${points(given.base)}%.`);
      return parts.join(" ");
    }

    const first = rows.map((row) => [...row.cells].slice(4, 4 + given.limits.length).map((cell) => cell.textContent));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", show);
    for (const button of form.querySelectorAll("[data-pick]")) {
      button.addEventListener("click", () => {
        for (const pick of picks) pick.checked = button.dataset.pick === "all";
        show();
      });
    }
    form.hidden = told.hidden = false;
    show();
  }
  for (const box of document.querySelectorAll("[data-choose]")) begin(box);
})();
