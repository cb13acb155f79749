// Drop an image, click, see the mask follow. Everything goes through the same API that other programs use.

const by = (id) => document.getElementById(id);
const room = document.querySelector("main"), stage = by("stage"), photo = by("photo"), drawing = by("drawing");
const status = by("status");

let image = null; // {key, name, file, width, height}: the image as the server knows it
let marks = []; // in the order they were made: {x, y, label} or {box: [x1, y1, x2, y2]}; of boxes the last one counts
let answer = null; // the mask last shown
let asked = 0; // counts requests, so that a late answer never replaces a newer one
let cross = null; // [x, y] of the keyboard's cross
let corner = null; // where a box begun by keyboard starts

const say = (text, wrong = false) => {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
};

async function ask(path, body) {
  const json = !(body instanceof Blob);
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": json ? "application/json" : "application/octet-stream" },
      body: json ? JSON.stringify(body) : body,
    });
  } catch {
    throw new Error("The server does not answer.");
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(said.error ?? response.statusText), { status: response.status });
  return said;
}

// ---------------------------------------------------------------- the image

async function open(file) {
  if (!file) return;
  const mine = ++asked;
  image = answer = corner = cross = null;
  marks = [];
  view = { zoom: 1, x: 0, y: 0 };
  colours = null;
  URL.revokeObjectURL(photo.src);
  photo.src = URL.createObjectURL(file);
  photo.alt = file.name;
  by("empty").hidden = true;
  stage.hidden = false;
  stage.classList.add("busy");
  say(`Reading ${file.name} …`);
  draw();
  try {
    const known = await ask("v1/embed", file);
    if (mine !== asked) return;
    image = { key: known.image, name: file.name, file, width: known.width, height: known.height };
    drawing.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    fit();
    say(`${image.width} × ${image.height}. Click the object.`);
    stage.focus();
  } catch (error) {
    if (mine !== asked) return;
    stage.hidden = true; // a file that is no image leaves room for another
    by("empty").hidden = false;
    say(error.message, true);
  } finally {
    if (mine === asked) stage.classList.remove("busy");
  }
}

// ---------------------------------------------------------------- zoom

let view = { zoom: 1, x: 0, y: 0 }; // how much larger than what fits; where the middle is, in screen pixels from the room's
const MOST = 32;

function fit() {
  const wide = image?.width ?? photo.naturalWidth, high = image?.height ?? photo.naturalHeight;
  if (!wide || !high) return;
  const frame = room.getBoundingClientRect();
  const scale = Math.min((frame.width - 32) / wide, (frame.height - 32) / high) * view.zoom;
  const over = (size, most) => Math.max((size - most) / 2 + 16, 0); // an edge may come into view, not go past the middle
  const keep = (value, most) => Math.min(Math.max(value, -most), most);
  view.x = view.zoom > 1 ? keep(view.x, over(wide * scale, frame.width)) : 0;
  view.y = view.zoom > 1 ? keep(view.y, over(high * scale, frame.height)) : 0;
  stage.style.width = `${wide * scale}px`;
  stage.style.height = `${high * scale}px`;
  stage.style.transform = `translate(${view.x}px, ${view.y}px)`;
  stage.classList.toggle("close", image !== null && scale > 3);
  by("whole").disabled = view.zoom === 1;
  draw();
}

// What lies under (x, y) on the screen stays there.
function zoom(factor, x, y) {
  if (!image) return;
  const frame = room.getBoundingClientRect();
  const next = Math.min(Math.max(view.zoom * factor, 1), MOST), grown = next / view.zoom;
  const fromMiddle = [x - frame.left - frame.width / 2, y - frame.top - frame.height / 2];
  view = {
    zoom: next,
    x: fromMiddle[0] - (fromMiddle[0] - view.x) * grown,
    y: fromMiddle[1] - (fromMiddle[1] - view.y) * grown,
  };
  fit();
}

function zoomMiddle(factor) {
  const frame = room.getBoundingClientRect();
  zoom(factor, frame.left + frame.width / 2, frame.top + frame.height / 2);
}

function pan(x, y) {
  view.x += x;
  view.y += y;
  fit();
}

room.addEventListener("wheel", (event) => {
  if (!image) return;
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
  zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX, event.clientY); // ctrl: a pinch on a touchpad
}, { passive: false });
by("whole").addEventListener("click", () => { view = { zoom: 1, x: 0, y: 0 }; fit(); });

photo.addEventListener("load", fit);
addEventListener("resize", fit);

// ---------------------------------------------------------------- marks

function mark(made) {
  if (!image) return;
  marks.push(made);
  segment();
}

function undo() {
  marks.pop();
  corner = null;
  segment();
}

function clear() {
  marks = [];
  corner = null;
  segment();
}

// One object has one box: a later one stands in for those before, and undo brings them back.
const lastBox = () => marks.findLast((one) => one.box)?.box;

function prompt() {
  const points = marks.filter((one) => !one.box);
  const wanted = {};
  if (points.length) {
    wanted.points = points.map((one) => [one.x, one.y]);
    wanted.point_labels = points.map((one) => one.label);
  }
  const box = lastBox();
  if (box) wanted.box = box;
  return wanted;
}

async function segment(again = true) {
  const mine = ++asked;
  stage.setAttribute("aria-busy", String(marks.length > 0)); // the mask shown is that of the marks before
  draw();
  if (!marks.length) {
    answer = null;
    draw();
    say(image ? "Click the object." : "");
    return;
  }
  const began = performance.now();
  try {
    const said = await ask("v1/segment", { image: image.key, prompts: [prompt()], polygons: true });
    if (mine !== asked) return;
    answer = said.masks[0] ?? null;
    if (answer?.area) by("mask").style.fill = `rgb(${tint().join(" ")} / 0.5)`;
    const took = Math.round(performance.now() - began);
    say(answer?.area ? `${answer.area} pixels · quality ${answer.score.toFixed(2)} · ${took} ms` : "Nothing found there.");
  } catch (error) {
    if (mine !== asked) return;
    if (error.status === 404 && again) { // the server has forgotten the image, or was restarted
      await ask("v1/embed", image.file).catch(() => null);
      return mine === asked ? segment(false) : undefined;
    }
    say(error.message, true);
  }
  stage.setAttribute("aria-busy", "false");
  draw();
}

// ---------------------------------------------------------------- drawing

const outline = (mask) =>
  (mask?.polygons ?? []).flat().map((ring) => `M${ring.map((point) => point.join(" ")).join("L")}Z`).join("");

// The tint that stands out most from what is under the mask.
const TINTS = [[255, 122, 40], [0, 190, 255], [255, 60, 200], [150, 230, 0]];
let colours = null; // the image, small, to look colours up in

function tint() {
  if (!colours && photo.complete && photo.naturalWidth) {
    const scale = 128 / Math.max(image.width, image.height);
    colours = Object.assign(document.createElement("canvas"), {
      width: Math.max(Math.round(image.width * scale), 1), height: Math.max(Math.round(image.height * scale), 1),
    });
    colours.getContext("2d").drawImage(photo, 0, 0, colours.width, colours.height);
  }
  if (!colours) return TINTS[0];
  const under = document.createElement("canvas");
  Object.assign(under, { width: colours.width, height: colours.height });
  const context = under.getContext("2d", { willReadFrequently: true });
  context.scale(colours.width / image.width, colours.height / image.height);
  context.clip(new Path2D(outline(answer)), "evenodd");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(colours, 0, 0);
  const sum = [0, 0, 0, 0], { data } = context.getImageData(0, 0, under.width, under.height);
  for (let i = 0; i < data.length; i++) sum[i % 4] += i % 4 === 3 ? data[i] : data[i] * data[i | 3] / 255;
  const mean = sum.slice(0, 3).map((value) => value / Math.max(sum[3] / 255, 1));
  const far = (one) => Math.hypot(...one.map((value, i) => value - mean[i]));
  return TINTS.reduce((best, one) => (far(one) > far(best) ? one : best));
}

function draw() {
  for (const id of ["edge", "mask"]) by(id).setAttribute("d", outline(answer));
  const scale = image && stage.clientWidth ? image.width / stage.clientWidth : 1;
  by("points").replaceChildren(...marks.filter((one) => !one.box).map((one) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "ellipse");
    for (const [name, value] of Object.entries({ cx: one.x, cy: one.y, rx: 5 * scale, ry: 5 * scale }))
      dot.setAttribute(name, value);
    dot.setAttribute("class", one.label ? "object" : "background");
    return dot;
  }));
  show(by("box"), corner && cross ? spanned(corner, cross) : lastBox());
  by("cross").toggleAttribute("hidden", !cross);
  if (cross) {
    const [x, y] = cross, [across, down] = by("cross").children;
    for (const [line, values] of [[across, [x - 14 * scale, y, x + 14 * scale, y]], [down, [x, y - 14 * scale, x, y + 14 * scale]]])
      ["x1", "y1", "x2", "y2"].forEach((name, i) => line.setAttribute(name, values[i]));
  }
  by("undo").disabled = by("clear").disabled = !marks.length;
  for (const id of ["copy", "png", "coco", "svg"]) by(id).disabled = !answer?.area || stage.ariaBusy === "true";
}

function show(rect, box) {
  rect.toggleAttribute("hidden", !box);
  if (!box) return;
  const [x1, y1, x2, y2] = box;
  for (const [name, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 })) rect.setAttribute(name, value);
}

const spanned = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

// ---------------------------------------------------------------- pointer and keys

function place(event) {
  const frame = stage.getBoundingClientRect();
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  return [
    within(((event.clientX - frame.left) / frame.width) * image.width, image.width),
    within(((event.clientY - frame.top) / frame.height) * image.height, image.height),
  ];
}

let pressed = null; // where a drag began, on the screen and in the image
const fingers = new Map(); // pointers that are down: where each is
const LONG = 500; // milliseconds after which a finger that rests marks the background

const background = () => by("background").checked;

function begin(event) {
  cross = corner = null;
  pressed = { x: event.clientX, y: event.clientY, at: place(event), button: event.button };
  if (event.pointerType === "touch") pressed.rests = setTimeout(() => {
    const [x, y] = pressed.at;
    forget();
    navigator.vibrate?.(20);
    mark({ x, y, label: 0 });
  }, LONG);
}

function forget() {
  clearTimeout(pressed?.rests);
  pressed = null;
}

// Two fingers: the image follows them, further apart and to wherever their middle goes.
function pinch(id, x, y) {
  const [other] = [...fingers].filter(([one]) => one !== id).map(([, at]) => at), before = fingers.get(id);
  const apart = Math.hypot(x - other[0], y - other[1]) / Math.max(Math.hypot(before[0] - other[0], before[1] - other[1]), 1);
  fingers.set(id, [x, y]);
  pan((x - before[0]) / 2, (y - before[1]) / 2);
  zoom(apart, (x + other[0]) / 2, (y + other[1]) / 2);
}

room.addEventListener("contextmenu", (event) => { if (image) event.preventDefault(); });
room.addEventListener("pointerdown", (event) => {
  if (!image) return;
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  room.setPointerCapture(event.pointerId);
  if (event.button === 1) event.preventDefault(); // no scrolling by the browser: the middle button moves the image
  if (fingers.size > 1) forget(), draw();
  else if (event.button === 0 || event.button === 2) { if (stage.contains(event.target)) begin(event); }
});
const dragged = (event) =>
  pressed?.button === 0 && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 5;
room.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  if (fingers.size === 2) return pinch(event.pointerId, event.clientX, event.clientY);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (event.buttons === 4) pan(event.clientX - before[0], event.clientY - before[1]);
  else if (dragged(event)) {
    clearTimeout(pressed.rests);
    show(by("box"), spanned(pressed.at, place(event)));
  }
});
room.addEventListener("pointerup", (event) => {
  fingers.delete(event.pointerId);
  if (!pressed) return;
  const box = dragged(event) ? spanned(pressed.at, place(event)) : null;
  const [x, y] = pressed.at, label = pressed.button === 2 || background() ? 0 : 1;
  forget();
  stage.focus({ preventScroll: true });
  if (!box) mark({ x, y, label });
  else if (box[2] > box[0] && box[3] > box[1]) mark({ box });
});
room.addEventListener("pointercancel", (event) => { fingers.delete(event.pointerId); forget(); draw(); });

const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

stage.addEventListener("keydown", (event) => {
  if (!image || event.ctrlKey || event.metaKey || event.altKey) return;
  cross ??= event.key in steps || event.key === "Enter" ? [image.width / 2, image.height / 2] : null;
  if (event.key in steps) {
    const far = (event.shiftKey ? 0.002 : 0.02) * Math.max(image.width, image.height);
    const [dx, dy] = steps[event.key];
    cross = [
      Math.min(Math.max(cross[0] + dx * far, 0), image.width),
      Math.min(Math.max(cross[1] + dy * far, 0), image.height),
    ];
    draw();
    const frame = room.getBoundingClientRect(), at = by("cross").getBoundingClientRect();
    const outside = (low, high, from, to) => Math.max(from - low, 0) + Math.min(to - high, 0);
    pan(outside(at.left, at.right, frame.left, frame.right), outside(at.top, at.bottom, frame.top, frame.bottom));
  } else if ((event.key === "Enter" || event.key === " ") && cross) {
    mark({ x: cross[0], y: cross[1], label: event.key === "Enter" && !background() ? 1 : 0 });
  } else if (event.key.toLowerCase() === "b" && cross) {
    const box = corner && spanned(corner, cross);
    corner = corner ? null : cross;
    if (box && box[2] > box[0] && box[3] > box[1]) mark({ box });
    else draw();
  } else return;
  event.preventDefault();
});

addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (key === "z" && !event.altKey && !event.shiftKey && marks.length) undo();
  else if (key === "escape" && (marks.length || corner)) clear();
  else if (image && (key === "+" || key === "=") && !event.ctrlKey && !event.metaKey) zoomMiddle(1.5);
  else if (image && key === "-" && !event.ctrlKey && !event.metaKey) zoomMiddle(1 / 1.5);
  else if (image && key === "0" && !event.ctrlKey && !event.metaKey) by("whole").click();
  else if (image && key === "x" && !event.ctrlKey && !event.metaKey) by(background() ? "object" : "background").click();
  else if (key === "o" && !event.ctrlKey && !event.metaKey && !event.altKey) by("file").click();
  else return;
  event.preventDefault();
});

// ---------------------------------------------------------------- in and out

for (const id of ["pick", "open"]) by(id).addEventListener("click", () => by("file").click());
by("file").addEventListener("change", (event) => { open(event.target.files[0]); event.target.value = ""; });
by("undo").addEventListener("click", undo);
by("clear").addEventListener("click", clear);
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  open(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => open([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));

function png() {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, image.width, image.height);
  context.fillStyle = "#fff";
  context.fill(new Path2D(outline(answer)), "evenodd");
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function coco() {
  const [x1, y1, x2, y2] = answer.box;
  return JSON.stringify({
    images: [{ id: 1, file_name: image.name, width: image.width, height: image.height }],
    annotations: [{
      id: 1, image_id: 1, category_id: 1, iscrowd: 0, area: answer.area,
      bbox: [x1, y1, x2 - x1, y2 - y1], segmentation: answer.segmentation, score: answer.score,
    }],
    categories: [{ id: 1, name: "object" }],
  }, null, 1);
}

const svg = () =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${image.width}" height="${image.height}" ` +
  `viewBox="0 0 ${image.width} ${image.height}"><path fill-rule="evenodd" d="${outline(answer)}"/></svg>\n`;

function save(blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = image.name.replace(/\.[^.]*$/, "") + suffix;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

by("png").addEventListener("click", async () => save(await png(), ".mask.png"));
by("coco").addEventListener("click", () => save(new Blob([coco()], { type: "application/json" }), ".coco.json"));
by("svg").addEventListener("click", () => save(new Blob([svg()], { type: "image/svg+xml" }), ".svg"));
by("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png() })]);
    say("Copied.");
  } catch {
    say("This browser does not let the page copy; use PNG.", true);
  }
});
