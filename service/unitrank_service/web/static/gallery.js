// The gallery of a cluster: draws the scores of rankings over the images, in the reader's colours.
"use strict";

(() => {
const maps = new Map();

// The values of a heatmap with their largest size, or null where the result has none.
function map(address) {
  if (!maps.has(address)) {
    maps.set(address, fetch(address, { headers: { Accept: "application/json" } }).then(async (answer) => {
      if (!answer.ok) return null;
      const { panels: [{ values, value }] } = await answer.json();
      return { values, bound: Math.max(Math.abs(value.low), Math.abs(value.high)) || 1 };
    }).catch(() => null));
  }
  return maps.get(address);
}

const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// Draw the maps over each other. A value's size is its opacity.
function paint(canvas, layers, negative, opacity) {
  const { values } = layers[0].map, height = values.length, width = values[0].length;
  Object.assign(canvas, { width, height });
  const ctx = canvas.getContext("2d"), image = ctx.createImageData(width, height);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) {
    let colour = [0, 0, 0], alpha = 0;
    for (const { map: { values, bound }, positive } of layers) {
      const value = values[row]?.[column] ?? 0, over = opacity * Math.abs(value) / bound, total = over + alpha * (1 - over);
      if (!total) continue;
      colour = colour.map((below, part) => ((value > 0 ? positive : negative)[part] * over + below * alpha * (1 - over)) / total);
      alpha = total;
    }
    image.data.set([...colour, 255 * alpha], 4 * (row * width + column));
  }
  ctx.putImageData(image, 0, 0);
}

window.showGallery = (gallery) => {
  const form = gallery.querySelector(".controls"), canvases = [...gallery.querySelectorAll("canvas[data-map]")];
  if (!form || !canvases.length) return;
  form.hidden = false;
  let latest = 0;
  const update = async () => {
    const number = ++latest, chosen = [...form.querySelectorAll("input[data-ranking]:checked")];
    const negative = parts(form.querySelector("[data-negative]").value), opacity = Number(form.querySelector("[data-opacity]").value) / 100;
    for (const canvas of canvases) {
      const layers = await Promise.all(chosen.map(async (box) => ({
        map: await map(canvas.dataset.map.replace("RANKING", encodeURIComponent(box.dataset.ranking))), positive: parts(box.closest("span").querySelector("input[type=color]").value),
      })));
      if (number !== latest) return;
      const found = layers.filter((layer) => layer.map);
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      if (found.length) paint(canvas, found, negative, opacity);
      canvas.toggleAttribute("data-painted", found.length > 0);
    }
  };
  form.addEventListener("input", update);
  update();
};
})();
