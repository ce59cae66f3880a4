"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
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

  /* One selected entry, the same everywhere. */
  function select(entry) {
    for (const each of document.querySelectorAll("[data-entry]")) {
      each.classList.toggle("selected", each.dataset.entry === entry);
    }
    keep("entry", entry);
    const row = document.getElementById(`entry-${entry}`);
    if (!row) return;
    said.textContent = `Selected: ${row.cells[0].textContent}`;
    if (viewed) viewed(data.names[entry]);
  }

  document.addEventListener("click", (event) => {
    const found = event.target.closest("[data-entry]");
    if (!found || getSelection().toString()) return;
    if (event.target.closest("a")) event.preventDefault();
    select(found.dataset.entry);
  });

  /* Sorting: the number a cell begins with, or its text; cells without a value come last. */
  function value(cell) {
    const text = cell.textContent.trim();
    if (text === "" || text === "–") return null;
    if (text.startsWith("∞")) return Infinity;
    const shown = cell.querySelector("bdi").firstChild;
    const number = parseFloat(shown ? shown.textContent : "");
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return a === b ? 0 : sign * (a < b ? -1 : 1);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  }

  /* Sort a table by its headings; filter it and hide columns, where there is room for that. */
  function handle(table) {
    const headings = [...table.tHead.rows[0].cells];
    const key = (what) => (table.id === "board" ? what : `${table.id}.${what}`);

    function sort(column, direction) {
      const sign = direction === "descending" ? -1 : 1;
      for (const body of table.tBodies) {
        const rows = [...body.rows];
        const keys = new Map(rows.map((row) => [row, value(row.cells[column])]));
        rows.sort((one, other) => compare(keys.get(one), keys.get(other), sign));
        body.append(...rows);
      }
      headings.forEach((heading, index) => {
        if (index === column) heading.setAttribute("aria-sort", direction);
        else heading.removeAttribute("aria-sort");
      });
      keep(key("sort"), `${column}.${direction}`);
    }

    headings.forEach((heading, column) => {
      const button = make("button", { type: "button" }, heading.textContent);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") === "ascending";
        sort(column, up ? "descending" : "ascending");
      });
      heading.replaceChildren(button);
    });
    const [column, direction] = (state.get(key("sort")) || "").split(".");
    if (headings[column]) sort(Number(column), direction === "descending" ? direction : "ascending");

    const tools = document.getElementById(`${table.id}-tools`);
    if (!tools) return;
    const what = table.id === "board" ? "entries" : "images";
    const filter = make("input", { type: "search", placeholder: `Filter ${what}`, "aria-label": `Filter ${what}` });
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      let shown = 0;
      for (const row of table.querySelectorAll("tbody tr")) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        shown += !row.hidden;
      }
      said.textContent = wanted ? `${shown} ${what} match` : "";
      keep(key("filter"), filter.value);
    });

    const choices = make("fieldset", { "aria-label": "Columns" });
    const hidden = new Set((state.get(key("hidden")) || "").split(".").filter(Boolean).map(Number));
    function showColumn(index) {
      for (const row of table.rows) row.cells[index].hidden = hidden.has(index);
    }
    headings.slice(1).forEach((heading, at) => {
      const box = make("input", { type: "checkbox" });
      box.checked = !hidden.has(at + 1);
      showColumn(at + 1);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(at + 1);
        else hidden.add(at + 1);
        showColumn(at + 1);
        keep(key("hidden"), [...hidden].join("."));
      });
      choices.append(make("label", {}, box, ` ${heading.textContent}`));
    });
    tools.append(filter, make("details", {}, make("summary", {}, "Columns"), choices));
    tools.hidden = false;
    if (state.get(key("filter"))) {
      filter.value = state.get(key("filter"));
      filter.dispatchEvent(new Event("input"));
    }
  }
  for (const table of document.querySelectorAll("table[id]")) handle(table);

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
    document.getElementById("board-tools").append(button);
  }
  const command = document.getElementById("command");
  if (command) {
    const button = make("button", { type: "button" }, "Copy command");
    button.addEventListener("click", () => copy(command.textContent, "command"));
    command.after(button);
  }

  /* The chart by other axes: what is drawn already is moved. */
  const chart = document.getElementById("chart");

  function svg(name, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
    element.append(...children);
    return element;
  }

  function draw([x, y, area], logs) {
    const [left, right, bottom, top] = data.chart.frame;
    const metrics = [x, y, area].map((index) => data.chart.metrics[index]);
    const [across, up] = logs.map((log, at) => ({ ...metrics[at], ...metrics[at].scales[Number(log)] }));
    const size = metrics[2];
    const px = (share) => left + share * (right - left);
    const py = (share) => bottom + share * (top - bottom);
    const drawing = chart.querySelector("svg");
    drawing.setAttribute("aria-label", `${up.heading} against ${across.heading}` + (size ? `, area in proportion to ${size.heading}` : ""));
    drawing.querySelector(".title.across").textContent = across.heading;
    drawing.querySelector(".title.up").textContent = up.heading;
    drawing.querySelector(".ticks").replaceChildren(
      ...across.ticks.flatMap(([share, text]) => [
        svg("path", { class: "grid", d: `M${px(share)} ${top}V${bottom}` }),
        svg("text", { x: px(share), y: bottom + 18, "text-anchor": "middle" }, text)]),
      ...up.ticks.flatMap(([share, text]) => [
        svg("path", { class: "grid", d: `M${left} ${py(share)}H${right}` }),
        svg("text", { x: left - 8, y: py(share) + 4, "text-anchor": "end" }, text)]));
    const front = x === y ? [] : [...data.chart.fronts[Math.max(x, y)][Math.min(x, y)]];
    front.sort((one, other) => across.shares[one][0] - across.shares[other][0]);
    const path = front.map((entry, index) => `${index ? "L" : "M"}${px(across.shares[entry][0])} ${py(up.shares[entry][0])}`);
    drawing.querySelector(".front").setAttribute("d", path.join(""));

    const links = [...drawing.querySelectorAll("a")];
    const radius = (link) => (size ? size.radii[link.dataset.entry] : data.chart.radius);
    links.sort((one, other) => radius(other) - radius(one) || one.dataset.entry - other.dataset.entry);
    for (const link of links) {
      const entry = Number(link.dataset.entry);
      const [xs, ys] = [across.shares[entry], up.shares[entry]];
      drawing.append(link);
      link.classList.toggle("absent", !xs || !ys);
      link.classList.toggle("dominated", !front.includes(entry));
      if (!xs || !ys) continue;
      const [cx, cy, r] = [px(xs[0]), py(ys[0]), radius(link)];
      const says = [across, up, size].filter(Boolean).map((metric) => metric.says[entry]).filter(Boolean);
      link.querySelector("title").textContent = `${data.names[entry]}: ${says.join(", ")}`;
      const bars = (xs.length > 1 ? `M${px(xs[1])} ${cy}H${px(xs[2])}` : "") + (ys.length > 1 ? `M${cx} ${py(ys[1])}V${py(ys[2])}` : "");
      link.querySelector(".interval").setAttribute("d", bars);
      const circle = link.querySelector("circle");
      circle.setAttribute("cx", cx);
      circle.setAttribute("cy", cy);
      circle.setAttribute("r", r);
    }
    name(links.filter((link) => !link.classList.contains("absent")), left);
  }

  function short(name, most) {
    const letters = [...name];
    return letters.length <= most ? name : `${letters.slice(0, most - 1).join("")}\u2026`;
  }

  /* Names beside their points where there is room, clear of points and other names; those on the
     front choose first. The sizes of names are those that Python takes, so both choose alike. */
  function name(links, left) {
    const { letters, letter, height, right } = data.chart.labels;
    const centre = (link) => ["cx", "cy", "r"].map((key) => Number(link.querySelector("circle").getAttribute(key)));
    const taken = links.map(centre).map(([x, y, r]) => [x - r, y - r, x + r, y + r]);
    links.sort((one, other) => one.classList.contains("dominated") - other.classList.contains("dominated"));
    for (const link of links) {
      const [[x, y, r], label] = [centre(link), link.querySelector("text")];
      const [above, below] = [y - r - 3, y + r + 13];
      const places = [[x + r + 4, y + 4, "start"], [x - r - 4, y + 4, "end"]];
      for (const [at, anchor] of [[x, "middle"], [x - r, "start"], [x + r, "end"]]) {
        places.push([at, above, anchor], [at, below, anchor]);
      }
      const name = data.names[link.dataset.entry];
      const lengths = letters.slice(0, link.classList.contains("dominated") ? 1 : undefined);
      const texts = [...new Set(lengths.map((most) => short(name, most)))];
      const free = texts.flatMap((text) => places.map((place) => [text, ...place])).some(([text, at, base, anchor]) => {
        const width = letter * [...text].length;
        const start = at - width * { start: 0, middle: 0.5, end: 1 }[anchor];
        const box = [start, base - height, start + width, base];
        const overlaps = (other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3];
        if (box[0] < left || box[2] > right || box[1] < 0 || taken.some(overlaps)) return false;
        label.textContent = text;
        label.setAttribute("x", at);
        label.setAttribute("y", base);
        label.setAttribute("text-anchor", anchor);
        taken.push(box);
        return true;
      });
      label.classList.toggle("crowded", !free);
    }
  }

  if (chart && data.axes.length) {
    const axes = document.getElementById("axes");
    const selects = ["Across", "Up", "Area"].map((label, index) => {
      const list = make("select");
      if (label === "Area") list.append(make("option", { value: -1 }, "none"));
      data.chart.metrics.forEach((metric, at) => list.append(make("option", { value: at }, metric.heading)));
      list.value = data.axes[index];
      list.addEventListener("change", () => {
        if (boxes[index]) offer(boxes[index], list);
        redraw();
      });
      axes.append(make("label", {}, `${label} `, list));
      return list;
    });
    const boxes = ["across", "up"].map((way, index) => {
      const box = make("input", { type: "checkbox" });
      box.addEventListener("change", redraw);
      selects[index].parentElement.after(make("label", {}, box, ` logarithmic ${way}`));
      offer(box, selects[index]);
      return box;
    });
    axes.hidden = false;
    const kept = (state.get("axes") || "").split(".").map(Number);
    if (kept.length === 3 && kept.every((each, at) => data.chart.metrics[each] || (at === 2 && each === -1))) {
      selects.forEach((list, at) => { list.value = kept[at]; });
      const logs = state.get("log") || "";
      boxes.forEach((box, at) => {
        offer(box, selects[at]);
        if (logs[at] && !box.disabled) box.checked = logs[at] === "1";
      });
      redraw();
    }

    /* A metric's own kind of axis, and whether the other one suits it. */
    function offer(box, list) {
      const metric = data.chart.metrics[list.value];
      box.checked = metric.log;
      box.disabled = !metric.scales[1];
    }

    function redraw() {
      const chosen = selects.map((each) => Number(each.value));
      const logs = boxes.map((box) => box.checked);
      keep("axes", chosen.join("."));
      keep("log", logs.map(Number).join(""));
      draw(chosen, logs);
    }
  }

  /* Two pictures of one image, a slider between them, and where they differ. */
  const groups = [...document.querySelectorAll(".crops")];
  const viewed = groups.length ? view(document.getElementById("viewer")) : null;

  function view(viewer) {
    const list = (label, options) => {
      const element = make("select");
      options.forEach((option, index) => element.append(make("option", { value: index }, option)));
      element.addEventListener("change", show);
      return [element, make("label", {}, `${label} `, element)];
    };
    const titles = groups.map((group) => group.querySelector("summary").textContent);
    const names = [...new Set(groups.flatMap((group) => [...group.querySelectorAll("img")].map(nameOf)))];
    const [crop, cropLabel] = list("Image", titles);
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

    async function show() {
      const images = [...groups[crop.value].querySelectorAll("img")];
      const pair = [left, right].map((each) => images.find((image) => nameOf(image) === names[each.value]));
      range.hidden = heat.checked;
      if (pair.includes(undefined)) {
        stage.replaceChildren(make("p", {}, "One of them does not have this image."));
        return;
      }
      const copies = pair.map((image) => make("img", { src: image.src, alt: image.alt, width: image.getAttribute("width"), height: image.getAttribute("height") }));
      if (!heat.checked) {
        stage.replaceChildren(...copies, make("div", { class: "divider" }));
        divide();
        return;
      }
      await Promise.all(copies.map((image) => image.decode()));
      try {
        stage.replaceChildren(difference(...copies));
      } catch {
        stage.replaceChildren(make("p", {}, "A browser compares images beside a page only where a server sends both."));
      }
    }
    viewer.hidden = false;
    show();
    return (name) => {
      const index = names.indexOf(name);
      if (index < 0) return;
      right.value = index;
      show();
    };
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

  if (state.get("entry")) select(state.get("entry"));

  /* Paper has no summaries to unfold. */
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("#machine details, .published, .more")) each.open = true;
  });
})();
