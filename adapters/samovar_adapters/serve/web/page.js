// Drop a picture, click, see the mask follow. Everything goes through the same API that other programs use.

const by = (id) => document.getElementById(id);
const stage = by("stage"), picture = by("picture"), drawing = by("drawing"), status = by("status");

let image = null; // {key, name, file, width, height}: the picture as the server knows it
let marks = []; // in the order they were made: {x, y, label} or {box: [x1, y1, x2, y2]}
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

// ---------------------------------------------------------------- the picture

async function open(file) {
  if (!file) return;
  const mine = ++asked;
  image = answer = corner = cross = null;
  marks = [];
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.alt = file.name;
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
    stage.hidden = true; // a file that is no picture leaves room for another
    by("empty").hidden = false;
    say(error.message, true);
  } finally {
    if (mine === asked) stage.classList.remove("busy");
  }
}

function fit() {
  const wide = image?.width ?? picture.naturalWidth, high = image?.height ?? picture.naturalHeight;
  if (!wide || !high) return;
  const room = stage.parentElement.getBoundingClientRect();
  const scale = Math.min((room.width - 32) / wide, (room.height - 32) / high);
  stage.style.width = `${wide * scale}px`;
  stage.style.height = `${high * scale}px`;
  draw();
}

picture.addEventListener("load", fit);
addEventListener("resize", fit);

// ---------------------------------------------------------------- marks

function mark(made) {
  if (!image) return;
  if (made.box) marks = marks.filter((one) => !one.box); // one object has one box
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

function prompt() {
  const points = marks.filter((one) => !one.box);
  const wanted = {};
  if (points.length) {
    wanted.points = points.map((one) => [one.x, one.y]);
    wanted.point_labels = points.map((one) => one.label);
  }
  const boxes = marks.filter((one) => one.box);
  if (boxes.length) wanted.box = boxes[0].box;
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
    const took = Math.round(performance.now() - began);
    say(answer?.area ? `${answer.area} pixels · quality ${answer.score.toFixed(2)} · ${took} ms` : "Nothing found there.");
  } catch (error) {
    if (mine !== asked) return;
    if (error.status === 404 && again) { // the server has forgotten the picture, or was restarted
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

function draw() {
  by("mask").setAttribute("d", outline(answer));
  const scale = image && stage.clientWidth ? image.width / stage.clientWidth : 1;
  by("points").replaceChildren(...marks.filter((one) => !one.box).map((one) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "ellipse");
    for (const [name, value] of Object.entries({ cx: one.x, cy: one.y, rx: 5 * scale, ry: 5 * scale }))
      dot.setAttribute(name, value);
    dot.setAttribute("class", one.label ? "object" : "background");
    return dot;
  }));
  show(by("box"), marks.find((one) => one.box)?.box ?? (corner && cross ? spanned(corner, cross) : null));
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

let pressed = null; // where a drag began, on the screen and in the picture

stage.addEventListener("contextmenu", (event) => event.preventDefault());
stage.addEventListener("pointerdown", (event) => {
  if (!image || (event.button !== 0 && event.button !== 2)) return;
  cross = corner = null;
  pressed = { x: event.clientX, y: event.clientY, at: place(event), button: event.button };
  stage.setPointerCapture(event.pointerId);
});
const dragged = (event) =>
  pressed?.button === 0 && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 5;
stage.addEventListener("pointermove", (event) => {
  if (dragged(event)) show(by("box"), spanned(pressed.at, place(event)));
});
stage.addEventListener("pointerup", (event) => {
  if (!pressed) return;
  const box = dragged(event) ? spanned(pressed.at, place(event)) : null;
  const [x, y] = pressed.at, label = pressed.button === 2 ? 0 : 1;
  pressed = null;
  if (!box) mark({ x, y, label });
  else if (box[2] > box[0] && box[3] > box[1]) mark({ box });
});
stage.addEventListener("pointercancel", () => { pressed = null; draw(); });

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
  } else if ((event.key === "Enter" || event.key === " ") && cross) {
    mark({ x: cross[0], y: cross[1], label: event.key === "Enter" ? 1 : 0 });
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
