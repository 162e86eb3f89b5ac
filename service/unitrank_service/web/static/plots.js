// Draws the plots of a page with uPlot, from the JSON of the API: hover, zoom, keys, and a table.
// A figure with `data-plot` names the address of a plot; `data-statistics` that of a dataset's.
"use strict";

(() => {
const HEIGHT = 300, MOST_CELLS = 4096, MOST_WRITTEN = 12, LEAST_ZOOMED = 6, COLOURS = 8;
// Degrees; a sloping label ends at its tick, so it needs room at the left, where the other axis is.
const SLOPE = 40;
const VERDICTS = { "better than random": "--bar-better", "no better than random": "--bar-no-better", "worse than random": "--bar-worse", undecided: "--bar-undecided" };
const DASHES = [[], [7, 4], [7, 3, 2, 3], [2, 3], [7, 2, 2, 2, 2, 2], [12, 4], [1, 2], [4, 6]];
const drawn = new Set();

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// The beginning and the end of a name: the class of a ranking stands at its end.
const short = (label) => label.length > 18 ? `${label.slice(0, 8)}…${label.slice(-9)}` : label;
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

// Four digits, as in the tables of the page.
function text(value) {
  if (value == null) return "–";
  if (typeof value !== "number") return String(value);
  const short = Number(value.toPrecision(4));
  return short !== 0 && (Math.abs(short) < 1e-4 || Math.abs(short) >= 1e4) && !Number.isInteger(short) ? short.toExponential() : String(short);
}

function element(tag, values = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) if (value != null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Red, green and blue of a colour in the style sheet, from 0 to 255.
function channels(name) {
  const [, r, g, b] = /^#(..)(..)(..)$/.exec(css(name));
  return [r, g, b].map((part) => parseInt(part, 16));
}

// A function from a value to a colour: signed values are red above 0 and blue below.
function scale(low, high) {
  const middle = channels("--map-middle"), cold = channels("--map-cold"), warm = channels("--map-warm");
  const bound = Math.max(Math.abs(low), Math.abs(high)) || 1, span = high - low || 1;
  return (value) => {
    if (value == null) return "transparent";
    const share = low < 0 ? Math.abs(value) / bound : (value - low) / span, end = low < 0 && value < 0 ? cold : low < 0 ? warm : cold;
    return `rgb(${middle.map((from, part) => Math.round(from + Math.min(1, share) * (end[part] - from))).join(" ")})`;
  };
}

const axis = (label, more = {}) => ({ label, labelSize: 22, stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1, size: 5 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", ...more });

// Each kind of panel has data and options of uPlot, a painter, the words at a place, and a table.
const KINDS = {
  lines(panel) {
    const x = panel.x.values, shares = panel.x.scale === "share", series = panel.series;
    const curves = series.map(({ name, order, colour }) => ({
      label: name, order, stroke: css(`--plot-${colour % COLOURS}`), width: order === "least" ? 1 : 2, dash: DASHES[colour % COLOURS], points: { show: x.length <= 30 && order !== "least", size: 5 },
    }));
    const band = panel.band ? [{ label: panel.band.name, points: { show: false }, stroke: css("--band") }, { label: panel.band.name, points: { show: false }, stroke: css("--band") }] : [];
    return {
      data: [x, ...series.map((line) => line.values), ...(panel.band ? [panel.band.high, panel.band.low] : [])],
      options: {
        scales: { x: { time: false, ...(shares ? { distr: 4, asinh: x[1] || 0.1 } : {}) } },
        series: [{}, ...curves, ...band],
        bands: panel.band ? [{ series: [series.length + 1, series.length + 2], fill: css("--band") }] : [],
        axes: [axis(panel.x.label, shares ? { splits: (plot, which, from, to) => x.filter((place) => place >= from && place <= to), filter: (plot, places) => places, values: (plot, places) => places.map((place, at) => at % Math.ceil(places.length / 10) ? "" : percent(place)), rotate: SLOPE, size: 56 } : {}), axis(panel.y.label, { size: 64 })],
      },
      groups: [...new Set(series.map((line) => line.name))].map((name) => ({ name, colour: `--plot-${series.find((line) => line.name === name).colour % COLOURS}`, numbers: series.flatMap((line, number) => line.name === name ? [number + 1] : []) }))
        .concat(panel.band ? [{ name: panel.band.name, colour: "--band", numbers: [series.length + 1, series.length + 2] }] : []),
      count: x.length,
      place: (plot, at) => x[at],
      words: (at) => [shares ? percent(x[at]) : `${panel.x.label.split(" ")[0]} ${x[at]}`, ...series.map((line) => `${line.name}${line.order === "least" ? " (least first)" : ""} ${text(line.values[at])}${line.units ? ` (unit ${line.units[at]})` : ""}`), ...(panel.band ? [`${panel.band.name} ${text(panel.band.low[at])} to ${text(panel.band.high[at])}`] : [])],
      table: () => ({
        head: [panel.x.label, ...series.flatMap((line) => [`${line.name}${line.order === "least" ? ", least first" : ""}`, ...(line.units ? ["unit"] : [])]), ...(panel.band ? [`${panel.band.name}, low`, "high"] : [])],
        rows: x.map((place, at) => [shares ? percent(place) : place, ...series.flatMap((line) => [text(line.values[at]), ...(line.units ? [line.units[at]] : [])]), ...(panel.band ? [text(panel.band.low[at]), text(panel.band.high[at])] : [])]),
      }),
    };
  },

  bars(panel) {
    const count = panel.labels.length, places = panel.labels.map((_, at) => at), has = (list) => list?.some((value) => value != null);
    const values = panel.values.flatMap((value, at) => [value, panel.low?.[at], panel.high?.[at]]).filter((value) => value != null);
    const low = Math.min(0, ...values), high = Math.max(0, ...values), room = (high - low || 1) * 0.06, intervals = panel.kind === "intervals";
    return {
      data: [places, panel.values],
      options: {
        scales: { x: { time: false, range: (plot, from, to) => whole(from, to, count) }, y: { range: () => [low - (low < 0 ? room : 0), high + (high > 0 ? room : 0)] } },
        series: [{}, { label: panel.y.label, paths: () => null, points: { show: false } }],
        axes: [axis(panel.x.label, { splits: (plot, which, from, to) => places.filter((at) => at >= from && at <= to), values: (plot, at) => at.map((place, number) => number % Math.ceil(18 * at.length / (plot.width - 64)) ? "" : short(panel.labels[place] ?? "")), rotate: SLOPE, size: Math.min(110, 20 + 6 * Math.max(...panel.labels.map((label) => short(label).length))), grid: { show: false } }), axis(panel.y.label, { size: 64 })],
      },
      paint(plot) {
        const { ctx } = plot, ratio = devicePixelRatio, zero = plot.valToPos(0, "y", true), half = Math.max(1, Math.min(24 * ratio, 0.35 * (plot.valToPos(1, "x", true) - plot.valToPos(0, "x", true))));
        panel.values.forEach((value, at) => {
          const centre = plot.valToPos(at, "x", true);
          if (value == null || centre < plot.bbox.left - half || centre > plot.bbox.left + plot.bbox.width + half) return;
          const top = plot.valToPos(value, "y", true);
          ctx.fillStyle = css(VERDICTS[panel.groups?.[at]] ?? "--plot-0");
          if (intervals) ctx.fillRect(centre - 4 * ratio, top - 4 * ratio, 8 * ratio, 8 * ratio); else ctx.fillRect(centre - half, Math.min(top, zero), 2 * half, Math.max(1, Math.abs(zero - top)));
          if (panel.low?.[at] != null && panel.high?.[at] != null) {
            ctx.strokeStyle = css("--ink");
            ctx.lineWidth = 1.5 * ratio;
            ctx.beginPath();
            ctx.moveTo(centre, plot.valToPos(panel.low[at], "y", true));
            ctx.lineTo(centre, plot.valToPos(panel.high[at], "y", true));
            ctx.stroke();
          }
        });
        ctx.fillStyle = css("--soft");
        ctx.fillRect(plot.bbox.left, zero - ratio / 2, plot.bbox.width, ratio);
      },
      count,
      place: (plot, at) => at,
      words: (at) => [`${panel.labels[at]}: ${text(panel.values[at])}`, ...(has(panel.low) ? [`interval ${text(panel.low[at])} to ${text(panel.high[at])}`] : []), ...(panel.groups ? [panel.groups[at]] : [])],
      table: () => ({
        head: [panel.x.label, panel.y.label, ...(has(panel.low) ? ["low", "high"] : []), ...(panel.groups ? ["verdict"] : [])],
        rows: panel.labels.map((label, at) => [label, text(panel.values[at]), ...(has(panel.low) ? [text(panel.low[at]), text(panel.high[at])] : []), ...(panel.groups ? [panel.groups[at]] : [])]),
      }),
    };
  },

  intervals: (panel) => KINDS.bars(panel),

  matrix(panel) {
    const rows = panel.rows.names, columns = panel.columns.names, named = rows.length <= 40 && columns.length <= 40, colour = scale(panel.value.low, panel.value.high);
    const numbered = (list) => list.every((name, at) => name === String(at));
    const names = (list) => (plot, at) => at.map((place) => Number.isInteger(place) ? short(list[place] ?? "") : "");
    const places = (list) => (plot, which, from, to) => {
      const step = Math.max(1, Math.ceil((to - from) / (named && !numbered(list) ? 40 : 8)));
      return list.map((_, at) => at).filter((at) => at % step === 0 && at >= from && at <= to);
    };
    const longest = (list) => Math.max(...list.map((name) => short(name).length));
    const left = Math.max(numbered(rows) ? 40 : 24 + 7 * longest(rows), numbered(columns) ? 0 : 5 * longest(columns)), below = numbered(columns) ? 40 : 30 + 5 * longest(columns);
    return {
      data: [[0, columns.length - 1], [0, rows.length - 1]],
      square: rows.length / columns.length,
      around: { x: left + 30, y: below + 40 },
      options: {
        scales: { x: { time: false, range: (plot, from, to) => whole(from, to, columns.length) }, y: { dir: -1, range: (plot, from, to) => whole(from, to, rows.length) } },
        series: [{}, { paths: () => null, points: { show: false } }],
        cursor: { drag: { x: true, y: true, uni: 20 } },
        axes: [axis(panel.columns.label, { splits: places(columns), values: names(columns), grid: { show: false }, size: below, rotate: numbered(columns) ? 0 : SLOPE }), axis(panel.rows.label, { splits: places(rows), values: names(rows), grid: { show: false }, size: left })],
      },
      paint(plot) {
        const { ctx } = plot, x = columns.map((_, at) => plot.valToPos(at - 0.5, "x", true)).concat(plot.valToPos(columns.length - 0.5, "x", true)), y = rows.map((_, at) => plot.valToPos(at - 0.5, "y", true)).concat(plot.valToPos(rows.length - 0.5, "y", true));
        const written = rows.length <= MOST_WRITTEN && columns.length <= MOST_WRITTEN && x[1] - x[0] > 34 * devicePixelRatio;
        ctx.save();
        ctx.beginPath();
        ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
        ctx.clip();
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.textAlign = "center";
        ctx.textBaseline = "middle";
        panel.values.forEach((line, row) => line.forEach((value, column) => {
          const fill = colour(value);
          ctx.fillStyle = fill;
          // Neighbours overlap by a pixel, so that no line is left between them.
          ctx.fillRect(Math.floor(x[column]), Math.floor(y[row]), Math.ceil(x[column + 1] - x[column]) + 1, Math.ceil(y[row + 1] - y[row]) + 1);
          if (written) {
            const [r, g, b] = fill.match(/\d+/g)?.map(Number) ?? channels("--map-middle");
            ctx.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
            ctx.fillText(value == null ? "–" : value.toFixed(2).replace(/^-(?=0\.00$)/, ""), (x[column] + x[column + 1]) / 2, (y[row] + y[row + 1]) / 2);
          }
        }));
        ctx.restore();
      },
      grid: [rows.length, columns.length],
      words: (row, column) => [`${panel.rows.label} ${rows[row]}`, `${panel.columns.label} ${columns[column]}`, `${panel.value.label} ${text(panel.values[row]?.[column])}`],
      key: panel.value,
      colour,
      table: () => rows.length * columns.length > MOST_CELLS ? null : { head: [`${panel.rows.label} \\ ${panel.columns.label}`, ...columns], rows: panel.values.map((line, row) => [rows[row], ...line.map(text)]) },
    };
  },
};

// The range that shows whole cells, with half a cell before the first and after the last index.
function whole(from, to, count) {
  return from == null ? [-0.5, count - 0.5] : [Math.max(-0.5, Math.round(from) - 0.5), Math.min(count - 0.5, Math.round(to) + 0.5)];
}

// One panel: the plot, its keys, the words at the pointer, and its table.
function draw(box, panel, title) {
  const kind = KINDS[panel.kind](panel), readout = element("p", { class: "readout", "aria-live": "polite" }), holder = element("div", { class: "canvas", tabindex: 0, role: "group", "aria-roledescription": "plot", "aria-label": `${title}: ${(panel.y ?? panel.value).label}. Arrow keys move, plus and minus zoom, 0 shows everything.` });
  box.append(holder);
  const buttons = element("div", { class: "keys" });
  box.append(buttons, readout);
  const hint = kind.grid ? "Point at a cell, drag or use the buttons to zoom." : "Point at the plot, drag or use the buttons to zoom.";
  readout.textContent = hint;
  const width = () => Math.max(220, box.clientWidth);
  const size = () => {
    if (!kind.square) return { width: width(), height: panel.kind === "lines" ? HEIGHT : HEIGHT + 40 };
    const inner = Math.min(width() - kind.around.x, kind.square > 1 ? 420 / kind.square : 420);
    return { width: Math.round(inner + kind.around.x), height: Math.round(Math.max(60, Math.min(420, inner * kind.square)) + kind.around.y) };
  };
  // Before the reader points at a place, and after the plot was moved, the middle is zoomed.
  let place = kind.grid ? [0, 0] : 0, pointed = false;
  const tell = () => { pointed = true; readout.textContent = (kind.grid ? kind.words(...place) : kind.words(place)).join("; "); };
  const plot = new uPlot({
    ...size(), legend: { show: false }, ...kind.options,
    cursor: { points: { size: 7 }, ...kind.options.cursor },
    hooks: {
      drawAxes: [(made) => { if (kind.paint) { made.ctx.save(); kind.paint(made); made.ctx.restore(); } }],
      setCursor: [(made) => {
        const { left, top, idx } = made.cursor;
        if (left == null || left < 0) return;
        if (kind.grid) {
          const at = [Math.round(made.posToVal(top, "y")), Math.round(made.posToVal(left, "x"))];
          if (at.some((number, side) => number < 0 || number >= kind.grid[side])) return;
          place = at;
        } else if (panel.kind === "lines") { if (idx == null) return; place = idx; } else { place = Math.min(kind.count - 1, Math.max(0, Math.round(made.posToVal(left, "x")))); }
        tell();
      }],
    },
  }, kind.data, holder);
  holder.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
  const point = () => plot.setCursor(kind.grid ? { left: plot.valToPos(place[1], "x"), top: plot.valToPos(place[0], "y") } : { left: plot.valToPos(kind.place(plot, place), "x"), top: plot.over.clientHeight / 2 });
  // The whole range of a scale.
  const all = (name) => {
    const ends = name === "x" ? [kind.data[0][0], kind.data[0].at(-1)] : [0, kind.grid[0] - 1], edge = kind.grid || panel.kind !== "lines" ? 0.5 : 0;
    return [ends[0] - edge, ends[1] + edge];
  };
  const zoom = (factor) => {
    for (const [name, side] of kind.grid ? [["x", 1], ["y", 0]] : [["x", null]]) {
      const { min, max } = plot.scales[name], middle = !pointed ? (min + max) / 2 : side === null ? kind.place(plot, place) : place[side], half = factor * (max - min) / 2, [low, high] = all(name);
      plot.setScale(name, { min: Math.max(low, middle - half), max: Math.min(high, middle + half) });
    }
  };
  // Moves what is shown by half of its width, as far as there is more.
  const move = (name, sign) => {
    const { min, max } = plot.scales[name], [low, high] = all(name);
    const by = Math.max(low - min, Math.min(high - max, sign * Math.max((max - min) / 2, kind.grid || panel.kind !== "lines" ? 1 : 0)));
    plot.setScale(name, { min: min + by, max: max + by });
    pointed = false;
  };
  const reset = () => { plot.setData(kind.data); pointed = false; readout.textContent = hint; };
  holder.addEventListener("dblclick", reset);
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step && kind.grid) place = place.map((at, side) => Math.max(0, Math.min(kind.grid[side] - 1, at + step[side])));
    else if (step && step[1]) place = Math.max(0, Math.min(kind.count - 1, place + step[1]));
    else if (event.key === "+" || event.key === "=") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0" || event.key === "Escape") reset();
    else return;
    event.preventDefault();
    if (step) { point(); tell(); }
  });
  for (const group of kind.groups ?? []) {
    const button = element("button", { type: "button", class: "quiet", "aria-pressed": "true" }, element("span", { class: "swatch" }), group.name);
    button.firstChild.style.background = css(group.colour);
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      group.numbers.forEach((number) => plot.setSeries(number, { show }));
      if (group.colour === "--band") { plot.bands.forEach((band) => { band.show = show; }); plot.redraw(); }
    });
    buttons.append(button);
  }
  if (kind.key) buttons.append(colours(kind));
  if (Math.max(...kind.grid ?? [kind.count]) >= LEAST_ZOOMED) {
    const aims = { "Zoom in": ["+", () => zoom(0.5)], "Zoom out": ["−", () => zoom(2)], "Move left": ["←", () => move("x", -1)], "Move right": ["→", () => move("x", 1)], ...(kind.grid ? { "Move up": ["↑", () => move("y", -1)], "Move down": ["↓", () => move("y", 1)] } : {}), "Show all": ["all", reset] };
    const group = element("div", { class: "zoom", role: "group", "aria-label": `Zoom of ${title}: ${(panel.y ?? panel.value).label}` });
    for (const [name, [sign, act]] of Object.entries(aims)) {
      const button = element("button", { type: "button", class: "quiet", "aria-label": name, title: name }, sign);
      button.addEventListener("click", act);
      group.append(button);
    }
    buttons.append(group);
  }
  box.append(table(kind, title, panel));
  const resize = new ResizeObserver(() => { if (box.isConnected && Math.abs(size().width - plot.width) > 1) plot.setSize(size()); });
  resize.observe(box);
  return () => { resize.disconnect(); plot.destroy(); };
}

// The colours of a matrix with the values at their ends.
function colours(kind) {
  const bar = element("canvas", { width: 120, height: 10, "aria-hidden": "true" }), ctx = bar.getContext("2d"), { low, high, label } = kind.key;
  for (let x = 0; x < 120; x++) { ctx.fillStyle = kind.colour(low + (high - low) * x / 119); ctx.fillRect(x, 0, 1, 10); }
  return element("p", { class: "soft ends" }, `${text(low)} `, bar, ` ${text(high)} ${label}`);
}

// The values as a table, which is filled when it is opened first.
function table(kind, title, panel) {
  const label = `${title}: ${(panel.y ?? panel.value).label}`, details = element("details", { class: "values" }, element("summary", {}, "Table of the values"));
  details.addEventListener("toggle", () => {
    if (details.querySelector("div")) return;
    const values = kind.table(), row = (cells, tag, scope) => element("tr", {}, ...cells.map((cell, at) => element(at && tag === "td" ? "td" : "th", { scope: at && tag === "td" ? null : scope }, String(cell))));
    details.append(values ? element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": `Values of ${label}` }, element("table", {}, element("thead", {}, row(values.head, "th", "col")), element("tbody", {}, ...values.rows.map((cells) => row(cells, "td", "row"))))) : element("div", { class: "soft" }, "The plot has too many values for a table; its JSON has all of them."));
  });
  return details;
}

// The panels of a dataset's statistics: the balance of classes, or a histogram, of each field.
function panelsOf(statistics) {
  return Object.entries(statistics.fields).flatMap(([name, field]) => {
    const about = `${field.rows.toLocaleString("en")} of ${statistics.examples.toLocaleString("en")} rows`;
    if (field.values) return [{ kind: "bars", title: name, labels: field.values.map(({ value }) => String(value)), values: field.values.map(({ rows }) => rows), x: { label: `value of ${name}` }, y: { label: `rows (${about})` } }];
    if (!field.histogram) return [];
    const { edges, counts } = field.histogram;
    return [{ kind: "bars", title: name, labels: counts.map((_, at) => `${text(edges[at])} to ${text(edges[at + 1])}`), values: counts, x: { label: `value of ${name}` }, y: { label: `values (${about})` } }];
  });
}

async function load(figure) {
  const address = figure.dataset.plot ?? figure.dataset.statistics, holder = element("div", { class: "panels" });
  figure.prepend(holder);
  let plot;
  try {
    const answer = await fetch(address, { headers: { Accept: "application/json" } }), body = await answer.json();
    if (!answer.ok) throw new Error(body.detail);
    plot = figure.dataset.plot ? body : { title: "Fields", panels: panelsOf(body) };
  } catch (error) {
    holder.append(element("p", { class: "box wrong" }, `The plot is missing: ${error.message}`));
    return;
  }
  const entry = { figure, ends: [] };
  entry.draw = () => {
    entry.ends.splice(0).forEach((end) => end());
    holder.replaceChildren();
    if (figure.dataset.plot) holder.setAttribute("data-panels", plot.panels.length);
    for (const panel of plot.panels) {
      const box = element("div", { class: "panel" });
      if (panel.title) box.append(element("h3", {}, panel.title));
      holder.append(box);
      entry.ends.push(draw(box, panel, panel.title ?? plot.title));
    }
    figure.setAttribute("data-drawn", "");
  };
  drawn.add(entry);
  entry.draw();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((entry) => {
  if (entry.figure.isConnected) entry.draw(); else drawn.delete(entry);
}));

// Plots far below are loaded when the reader comes near.
const near = new IntersectionObserver((entries) => entries.forEach(({ isIntersecting, target }) => {
  if (!isIntersecting) return;
  near.unobserve(target);
  load(target);
}), { rootMargin: "400px" });
window.showPlot = (figure) => near.observe(figure);
})();
