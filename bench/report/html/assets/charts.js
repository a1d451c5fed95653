// Draws the pictures. Colours are CSS variables: theme and print follow without drawing anew.
(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  if (!window.vegaEmbed) return;
  const sans = getComputedStyle(document.documentElement).getPropertyValue("--sans").trim();
  const text = { labelFont: sans, titleFont: sans, labelFontSize: 12, titleFontSize: 12.5, titleFontWeight: 500 };
  const config = {
    background: null,
    font: sans,
    mark: { aria: false, tooltip: null },
    view: { stroke: null },
    axis: {
      ...text, aria: false, labelColor: "var(--muted)", titleColor: "var(--ink)", gridColor: "var(--rule)", domainColor: "var(--dim)",
      tickColor: "var(--dim)", titlePadding: 8, labelPadding: 5, tickSize: 4, tickCount: 6,
    },
    axisYBand: { domain: false, ticks: false, labelColor: "var(--ink)", grid: false },
  };
  const rename = (spec) => { spec.marks.push(names()); return spec; };

  // Names beside points, only where they cover nothing; those of the front have their place first.
  const names = () => ({
    type: "text",
    from: { data: "points_marks" },
    zindex: 1,
    interactive: false,
    aria: false,
    encode: {
      enter: {
        text: { signal: "datum.datum.recipe" }, fontSize: { value: 12 }, font: { value: sans }, fill: { value: "var(--ink)" },
        fontWeight: { signal: "datum.datum.front ? 600 : 400" },
      },
    },
    transform: [{
      type: "label",
      size: { signal: "[max(width, 1), max(height, 1)]" },
      sort: { field: "datum.datum.front", order: "descending" },
      anchor: ["right", "left", "top", "bottom", "top-right", "bottom-right", "top-left", "bottom-left"],
      offset: [7, 7, 5, 5, 3, 3, 3, 3],
      padding: 2,
    }],
  });

  const ERRORS = 1; // of Vega's log levels: an empty axis needs no warning
  const views = new Map();
  async function draw(id, spec, alt) {
    const place = document.getElementById(id);
    const full = { ...spec, description: alt, autosize: { type: "fit-x", contains: "padding" }, datasets: numbers.datasets };
    full.params = (spec.params || []).map((p) => (p.name === "labels" ? { ...p, value: place.clientWidth < 500 ? 112 : p.value } : p));
    const patch = place.classList.contains("labelled") ? rename : undefined;
    const result = await window.vegaEmbed(place, full, { actions: false, renderer: "svg", ast: true, config, patch, hover: false, logLevel: ERRORS });
    if (views.has(id)) views.get(id).finalize();
    views.set(id, result);
    place.parentElement.setAttribute("aria-label", alt);
    place.dataset.drawn = String(Number(place.dataset.drawn || 0) + 1);
    return result;
  }

  // An axis chosen by the reader.
  const SPREAD = 30; // a greater ratio between greatest and smallest value makes an axis logarithmic
  function chooser(form) {
    const id = form.dataset.chooser, { metrics, points } = numbers.choosers[id], { spec } = numbers.charts[id];
    const selects = { x: form.querySelector('[data-axis="x"]'), y: form.querySelector('[data-axis="y"]') };
    const wanted = { x: ["forgetting", "train_seconds"], y: ["target_accuracy"] };
    for (const [axis, select] of Object.entries(selects)) {
      const groups = { "all tasks": metrics.filter((m) => !m.task), "single tasks": metrics.filter((m) => m.task) };
      for (const [label, members] of Object.entries(groups)) {
        if (!members.length) continue;
        const group = document.createElement("optgroup");
        group.label = label;
        for (const m of members) group.append(new Option(m.title, m.name));
        select.append(group);
      }
      const start = wanted[axis].find((name) => metrics.some((m) => m.name === name));
      select.value = start || metrics[axis === "x" ? 1 : 0].name;
    }
    const show = () => {
      const [x, y] = [selects.x, selects.y].map((s) => metrics.find((m) => m.name === s.value));
      const found = points.filter((p) => [x, y].every((m) => p.values[m.name] && p.values[m.name][0] !== null)).map((p) => {
        const [vx, x1, x2, tx] = p.values[x.name], [vy, y1, y2, ty] = p.values[y.name];
        return { recipe: p.recipe, family: p.family, x: vx, x1, x2, y: vy, y1, y2, tx, ty, front: false };
      });
      // The front: points that no other beats in both. It needs two axes that know which way is better.
      const signs = [x, y].map((m) => ({ higher: 1, lower: -1 })[m.better] || 0);
      const beats = (a, b) => signs[0] * a.x >= signs[0] * b.x && signs[1] * a.y >= signs[1] * b.y && (a.x !== b.x || a.y !== b.y);
      const front = signs[0] && signs[1] ? found.filter((p) => !found.some((other) => beats(other, p))) : [];
      for (const p of front) p.front = true;
      const wide = (a) => {
        const all = found.flatMap((p) => [p[a], p[a + "1"], p[a + "2"]]);
        return Math.min(...all) > 0 && Math.max(...all) / Math.min(...all) > SPREAD;
      };
      const made = JSON.parse(JSON.stringify(spec), (key, value) => (value === "@x" ? x.axis : value === "@y" ? y.axis : value));
      made.layer = made.layer.map((layer) => ({ ...layer, data: { values: found } }));
      delete made.data;
      for (const layer of made.layer) {
        if (layer.name === "front") layer.mark.interpolate = x.better === "higher" ? "step-before" : "step-after";
        for (const axis of ["x", "y"]) {
          const encoding = layer.encoding[axis];
          if (!encoding) continue;
          if (wide(axis)) encoding.scale = { type: "log", nice: false, ...(encoding.scale ? { padding: encoding.scale.padding } : {}) };
          encoding.axis = { ...encoding.axis, ...(wide(axis) ? { format: "~s", labelOverlap: true } : {}) };
        }
      }
      const best = front.length ? ` No row beats ${front.map((p) => p.recipe).join(", ")} in both.` : "";
      return draw(id, made, `${y.title} against ${x.title} for ${found.length} rows; the table holds the numbers.${best}`);
    };
    for (const select of Object.values(selects)) select.addEventListener("change", show);
    form.querySelector("[data-swap]").addEventListener("click", () => {
      [selects.x.value, selects.y.value] = [selects.y.value, selects.x.value];
      show();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    return show;
  }
  const choosers = new Map([...document.querySelectorAll("[data-chooser]")].map((form) => [form.dataset.chooser, chooser(form)]));

  for (const select of document.querySelectorAll("[data-signal]")) {
    select.form.addEventListener("submit", (event) => event.preventDefault());
    select.addEventListener("change", () => {
      const result = views.get(select.dataset.chart), value = select.type === "checkbox" ? select.checked : select.value;
      if (result) result.view.signal(select.dataset.signal, value).runAsync();
    });
  }

  // What is near the window is drawn at once, the rest when the browser has time; what is folded away when it opens.
  const waiting = new Set([...document.querySelectorAll(".chart")]);
  const once = (place) => {
    if (!waiting.delete(place)) return Promise.resolve();
    const show = choosers.get(place.id) || (() => draw(place.id, numbers.charts[place.id].spec, numbers.charts[place.id].alt));
    return show().catch((error) => console.error(place.id, error));
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); once(entry.target); }
  }, { rootMargin: "600px" });
  for (const place of waiting) near.observe(place);
  const idle = window.requestIdleCallback || ((then) => setTimeout(then, 50));
  const rest = async () => {
    const next = [...waiting].find((place) => place.clientWidth > 0);
    if (!next) { document.documentElement.dataset.drawn = "all"; return; }
    await once(next);
    idle(rest);
  };
  idle(rest);
})();
