// What /openapi.json says, for people: every route with its types, and examples that can be sent from here.

const status = document.getElementById("status");
const routes = document.getElementById("routes");

/** An element with these attributes and children; strings become text, never markup. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const nameOf = (reference) => reference.split("/").pop();

/** A schema in one line: "number[4] | null", with links to what it refers to. */
function typeOf(schema) {
  if (schema.$ref) return [el("a", { href: `#${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.flatMap((one, index) => (index ? [" | ", ...typeOf(one)] : typeOf(one)));
  if (schema.enum) return [schema.enum.join(" | ")];
  if (schema.type === "array") {
    const { minItems: least, maxItems: most } = schema;
    const items = schema.items ? typeOf(schema.items) : ["any"];
    return ["[", ...items, least !== undefined && least === most ? `] × ${least}` : "]"];
  }
  return [[schema.type ?? "any"].flat().join(" | ")];
}

function describe(schema) {
  const inner = (schema.anyOf ?? []).map((one) => one.description).filter(Boolean);
  return schema.description ?? inner.join(" ");
}

function fields(schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const fallback = "default" in field && field.default !== null ? ` (by default ${JSON.stringify(field.default)})` : "";
    return el(
      "tr", {},
      el("th", { scope: "row" }, el("code", {}, name), required.has(name) ? el("b", { title: "required" }, " *") : null),
      el("td", {}, ...typeOf(field)),
      el("td", {}, (describe(field) ?? "") + fallback),
    );
  });
  return el("table", {}, el("tbody", {}, ...rows));
}

async function send(path, text, shown) {
  shown.textContent = "…";
  const began = performance.now();
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(path.slice(1), { method: "POST", headers, body: text });
    const said = JSON.stringify(await response.json(), null, 1);
    const cut = said.length > 20_000 ? `${said.slice(0, 20_000)}\n…` : said;
    shown.textContent = `${response.status} in ${Math.round(performance.now() - began)} ms\n${cut}`;
  } catch (error) {
    shown.textContent = `No answer: ${error.message}`;
  }
}

function tryOut(path, examples) {
  const text = el("textarea", { rows: 12, spellcheck: "false", "aria-label": `Body for ${path}` });
  const shown = el("pre", { "aria-live": "polite" });
  const show = (value) => { text.value = JSON.stringify(value, null, 1); };
  show(Object.values(examples)[0].value);
  const choices = Object.entries(examples).map(([name, one]) => el("button", { onclick: () => show(one.value) }, name));
  const go = el("button", { class: "send", onclick: () => send(path, text.value, shown) }, "Send");
  return el("details", {}, el("summary", {}, "Try it"), el("p", { role: "group" }, ...choices), text, go, shown);
}

function route(path, method, operation) {
  const [[kind, body]] = Object.entries(operation.requestBody.content);
  const answers = Object.entries(operation.responses).map(([code, one]) => {
    const schema = code === "200" ? one.content["application/json"].schema : null;
    return el("li", {}, el("b", {}, code), ` ${one.description} `, ...(schema ? typeOf(schema) : []));
  });
  return el(
    "section", { id: operation.operationId },
    el("h2", {}, el("code", {}, `${method.toUpperCase()} ${path}`)),
    el("p", {}, operation.summary),
    el("p", {}, "Body: ", ...(body.schema.$ref ? typeOf(body.schema) : ["the bytes of an image"]), ` (${kind})`),
    el("ul", {}, ...answers),
    body.examples ? tryOut(path, body.examples) : null,
  );
}

try {
  const described = await (await fetch("openapi.json")).json();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) routes.append(route(path, method, operation));
  }
  for (const [name, schema] of Object.entries(described.components.schemas)) {
    routes.append(el("section", { id: name }, el("h2", {}, name), el("p", {}, schema.description ?? ""), fields(schema)));
  }
  status.textContent = `Version ${described.info.version}`;
} catch (error) {
  status.textContent = `The description cannot be read: ${error.message}`;
  status.classList.add("wrong");
}
