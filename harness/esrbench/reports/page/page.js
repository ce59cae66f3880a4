"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("board");
  const said = document.getElementById("said");
  const state = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");

  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function keep(key, value) {
    if (value === "") state.delete(key);
    else state.set(key, value);
    history.replaceState(null, "", `#?${state}`);
  }

  /* One selected entry, the same in the table and in the chart. */
  function select(entry) {
    for (const each of document.querySelectorAll("[data-entry]")) {
      each.classList.toggle("selected", each.dataset.entry === entry);
    }
    keep("entry", entry);
    const row = document.getElementById(`entry-${entry}`);
    if (row) said.textContent = `Selected: ${row.cells[0].textContent}`;
  }

  document.addEventListener("click", (event) => {
    const found = event.target.closest("[data-entry]");
    if (!found || getSelection().toString()) return;
    event.preventDefault();
    select(found.dataset.entry);
  });

  /* Sorting: the number a cell begins with, or its text; cells without a value come last. */
  function value(cell) {
    const text = cell.textContent.trim();
    const shown = cell.firstElementChild.firstChild;
    const number = parseFloat(shown ? shown.textContent : "");
    if (text === "" || text === "–") return null;
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort(column, direction) {
    const sign = direction === "descending" ? -1 : 1;
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      const keys = new Map(rows.map((row) => [row, value(row.cells[column])]));
      rows.sort((one, other) => compare(keys.get(one), keys.get(other), sign));
      body.append(...rows);
    }
    [...table.tHead.rows[0].cells].forEach((heading, index) => {
      if (index === column) heading.setAttribute("aria-sort", direction);
      else heading.removeAttribute("aria-sort");
    });
    keep("sort", `${column}.${direction}`);
  }

  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = make("button", { type: "button" }, heading.textContent);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "ascending";
      sort(column, up ? "descending" : "ascending");
    });
    heading.replaceChildren(button);
  });

  /* Filter, columns, copies. */
  const tools = document.getElementById("tools");
  const filter = make("input", { type: "search", placeholder: "Filter entries", "aria-label": "Filter entries" });

  function apply() {
    const wanted = filter.value.toLowerCase();
    let shown = 0;
    for (const row of table.querySelectorAll("tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    said.textContent = wanted ? `${shown} entries match` : "";
    keep("filter", filter.value);
  }
  filter.addEventListener("input", apply);

  const choices = make("fieldset", { "aria-label": "Columns" });
  function showColumn(column, visible) {
    for (const row of table.rows) row.cells[column].hidden = !visible;
  }
  headings.slice(1).forEach((heading, index) => {
    const box = make("input", { type: "checkbox" });
    box.checked = true;
    box.addEventListener("change", () => {
      showColumn(index + 1, box.checked);
      const hidden = [...choices.querySelectorAll("input")].flatMap((each, at) => (each.checked ? [] : [at + 1]));
      keep("hidden", hidden.join("."));
    });
    choices.append(make("label", {}, box, ` ${heading.textContent}`));
  });
  tools.append(filter, make("details", {}, make("summary", {}, "Columns"), choices));

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    said.textContent = `Copied: ${what}`;
  }
  for (const [form, text] of Object.entries(data.copies)) {
    const button = make("button", { type: "button" }, `Copy as ${form}`);
    button.addEventListener("click", () => copy(text, form));
    tools.append(button);
  }
  tools.hidden = false;

  const command = document.getElementById("command");
  if (command) {
    const button = make("button", { type: "button" }, "Copy command");
    button.addEventListener("click", () => copy(command.textContent, "command"));
    command.after(button);
  }

  /* The chart for other axes; the first one is in the page already. */
  const chart = document.getElementById("chart");
  const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [760, 440, 64, 24, 16, 52];

  function svg(name, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
    element.append(...children);
    return element;
  }

  function axis(values, start, end, multiples) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const log = multiples && low > 0 && high / low >= 3;
    if (log) [low, high] = [low / 1.25, high * 1.25];
    else {
      const margin = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
      [low, high] = [low - margin, high + margin];
    }
    const at = log ? Math.log : (number) => number;
    const place = (number) => start + ((at(number) - at(low)) / (at(high) - at(low))) * (end - start);
    const ticks = [];
    if (log) {
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
        for (const factor of [1, 2, 5]) ticks.push(factor * 10 ** power);
      }
    } else {
      const rough = (high - low) / 5;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
      for (let k = Math.ceil(low / step); k <= Math.floor(high / step); k++) ticks.push(step * k);
    }
    return { place, ticks: ticks.filter((tick) => low <= tick && tick <= high) };
  }

  function draw(x, y, area) {
    const [across, up, size] = [x, y, area].map((index) => data.chart.metrics[index]);
    const points = data.chart.entries.flatMap(({ name, ranked, values }, entry) =>
      values[x] && values[y] ? [{ entry, name, ranked, x: values[x], y: values[y], area: area < 0 ? null : values[area] }] : []);
    if (!points.length) {
      chart.replaceChildren(make("p", {}, "No entry has both."));
      return;
    }
    const xs = axis(points.flatMap((point) => point.x), LEFT, WIDTH - RIGHT, !across.higher);
    const ys = axis(points.flatMap((point) => point.y), HEIGHT - BOTTOM, TOP, !up.higher);
    const label = `${up.heading} against ${across.heading}` + (size ? `, area in proportion to ${size.heading}` : "");
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label });
    const text = (content, attributes) => drawing.append(svg("text", attributes, content));
    for (const tick of xs.ticks) {
      drawing.append(svg("path", { class: "grid", d: `M${xs.place(tick)} ${TOP}V${HEIGHT - BOTTOM}` }));
      text(String(+tick.toPrecision(4)), { x: xs.place(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" });
    }
    for (const tick of ys.ticks) {
      drawing.append(svg("path", { class: "grid", d: `M${LEFT} ${ys.place(tick)}H${WIDTH - RIGHT}` }));
      text(String(+tick.toPrecision(6)), { x: LEFT - 8, y: ys.place(tick) + 4, "text-anchor": "end" });
    }
    drawing.append(svg("path", { class: "frame", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }));
    text(across.heading, { class: "title", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle" });
    text(up.heading, { class: "title", transform: `translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" });

    const gain = (one, other, metric) => (metric.higher ? one - other : other - one);
    const beats = (one, other) => {
      const [dx, dy] = [gain(one.x[0], other.x[0], across), gain(one.y[0], other.y[0], up)];
      return dx >= 0 && dy >= 0 && (dx > 0 || dy > 0);
    };
    const ranked = points.filter((point) => point.ranked);
    const front = ranked.filter((point) => !ranked.some((other) => beats(other, point)));
    front.sort((one, other) => one.x[0] - other.x[0]);
    const line = front.map((point, index) => `${index ? "L" : "M"}${xs.place(point.x[0])} ${ys.place(point.y[0])}`);
    drawing.append(svg("path", { class: "front", d: line.join("") }));

    const largest = Math.max(0, ...points.map((point) => (point.area ? point.area[0] : 0)));
    points.sort((one, other) => (other.area ? other.area[0] : 0) - (one.area ? one.area[0] : 0));
    for (const point of points) {
      const [px, py] = [xs.place(point.x[0]), ys.place(point.y[0])];
      const radius = point.area && largest > 0 ? Math.max(5, 18 * Math.sqrt(point.area[0] / largest)) : 5;
      const says = `${point.name}: ${across.heading} ${point.x[0].toFixed(across.digits)}, ${up.heading} ${point.y[0].toFixed(up.digits)}`;
      const link = svg("a", {
        href: `#entry-${point.entry}`,
        "data-entry": point.entry,
        class: front.includes(point) ? "point" : "point dominated",
      }, svg("title", {}, says));
      if (point.x.length > 1) link.append(svg("path", { class: "interval", d: `M${xs.place(point.x[1])} ${py}H${xs.place(point.x[2])}` }));
      if (point.y.length > 1) link.append(svg("path", { class: "interval", d: `M${px} ${ys.place(point.y[1])}V${ys.place(point.y[2])}` }));
      link.append(svg("circle", { cx: px, cy: py, r: radius }));
      const right = px + radius + 4 + 7 * point.name.length < WIDTH;
      const name = point.name.length > 22 ? `${point.name.slice(0, 21)}…` : point.name;
      link.append(svg("text", { x: right ? px + radius + 4 : px - radius - 4, y: py + 4, "text-anchor": right ? "start" : "end" }, name));
      drawing.append(link);
    }
    chart.replaceChildren(drawing);
    if (state.get("entry")) select(state.get("entry"));
  }

  if (chart && data.axes.length) {
    const axes = document.getElementById("axes");
    const selects = ["Across", "Up", "Area"].map((label, index) => {
      const list = make("select");
      if (label === "Area") list.append(make("option", { value: -1 }, "none"));
      data.chart.metrics.forEach((metric, at) => list.append(make("option", { value: at }, metric.heading)));
      list.value = data.axes[index];
      list.addEventListener("change", redraw);
      axes.append(make("label", {}, `${label} `, list));
      return list;
    });
    function redraw() {
      const chosen = selects.map((list) => Number(list.value));
      keep("axes", chosen.join("."));
      draw(...chosen);
    }
    axes.hidden = false;
    const kept = (state.get("axes") || "").split(".").map(Number);
    if (kept.length === 3 && kept.every((each, at) => data.chart.metrics[each] || (at === 2 && each === -1))) {
      selects.forEach((list, at) => { list.value = kept[at]; });
      draw(...kept);
    }
  }

  /* Two pictures of one crop, a slider between them, and where they differ. */
  const viewer = document.getElementById("viewer");
  const groups = [...document.querySelectorAll(".crops")];

  function viewed() {
    const list = (label, options) => {
      const element = make("select");
      options.forEach((option, index) => element.append(make("option", { value: index }, option)));
      element.addEventListener("change", show);
      return [element, make("label", {}, `${label} `, element)];
    };
    const titles = groups.map((group) => group.querySelector("summary").textContent);
    const names = [...new Set(groups.flatMap((group) => [...group.querySelectorAll("img")].map(nameOf)))];
    const [crop, cropLabel] = list("Crop", titles);
    const [left, leftLabel] = list("Left", names);
    const [right, rightLabel] = list("Right", names);
    right.value = Math.min(2, names.length - 1);
    const heat = make("input", { type: "checkbox" });
    heat.addEventListener("change", show);
    const range = make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Share of the left picture" });
    range.addEventListener("input", divide);
    const stage = make("div", { class: "stage" });
    viewer.append(
      make("div", { class: "tools" }, cropLabel, leftLabel, rightLabel, make("label", {}, heat, " Map of their difference")),
      stage, range);

    function divide() {
      const over = stage.querySelector("img + img");
      if (!over) return;
      over.style.clipPath = `inset(0 0 0 ${range.value}%)`;
      stage.querySelector(".divider").style.left = `${range.value}%`;
    }

    function show() {
      const images = [...groups[crop.value].querySelectorAll("img")];
      const pair = [left, right].map((each) => images.find((image) => nameOf(image) === names[each.value]));
      if (pair.includes(undefined)) {
        stage.replaceChildren(make("p", {}, "This crop is missing."));
        return;
      }
      range.hidden = heat.checked;
      if (heat.checked) stage.replaceChildren(difference(...pair));
      else {
        const copies = pair.map((image) => {
          const copy = image.cloneNode();
          copy.className = "";
          return copy;
        });
        stage.replaceChildren(...copies, make("div", { class: "divider" }));
        divide();
      }
    }
    viewer.hidden = false;
    show();
  }

  function nameOf(image) {
    return image.parentElement.querySelector("bdi").textContent;
  }

  /* |left - right| of each pixel, mean of the channels; the largest difference is full colour. */
  function difference(one, other) {
    const canvas = make("canvas", { width: one.getAttribute("width"), height: one.getAttribute("height") });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const pixels = [one, other].map((image) => {
      context.imageSmoothingEnabled = false;
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    });
    const [first, second] = pixels.map((each) => each.data);
    const apart = new Float32Array(first.length / 4);
    let most = 1;
    for (let at = 0; at < apart.length; at++) {
      for (let channel = 0; channel < 3; channel++) apart[at] += Math.abs(first[4 * at + channel] - second[4 * at + channel]) / 3;
      most = Math.max(most, apart[at]);
    }
    for (let at = 0; at < apart.length; at++) {
      const share = apart[at] / most;
      [first[4 * at], first[4 * at + 1], first[4 * at + 2]] = [255 * Math.min(1, 2 * share), 255 * Math.max(0, 2 * share - 1), 64 * (1 - share)];
    }
    context.putImageData(pixels[0], 0, 0);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Differences, at most ${most.toFixed(0)} of 255 levels`);
    return canvas;
  }

  if (viewer && groups.length) viewed();

  /* What the link says: the state of whoever copied it. */
  if (state.get("sort")) {
    const [column, direction] = state.get("sort").split(".");
    if (headings[column]) sort(Number(column), direction === "descending" ? direction : "ascending");
  }
  for (const column of (state.get("hidden") || "").split(".").filter(Boolean)) {
    const box = choices.querySelectorAll("input")[column - 1];
    if (box) { box.checked = false; showColumn(Number(column), false); }
  }
  if (state.get("filter")) { filter.value = state.get("filter"); apply(); }
  if (state.get("entry")) select(state.get("entry"));
})();
